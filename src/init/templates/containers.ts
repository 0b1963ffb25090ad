/** Where a package from a clone lies in an image. */
const IN_IMAGE = "/annals";

/** `Dockerfile` of a new project; a clone comes in by a build context of its own, called `annals`. */
export const dockerfileText = (isClone: boolean): string =>
  `# The server with the domain. \`docker compose up --build\` starts it with Redis and PostgreSQL.
FROM denoland/deno:2.9.6

WORKDIR /app
COPY . .
${
    isClone
      ? `# The package, from its clone.
COPY --from=annals deno.json mod.ts server.ts ${IN_IMAGE}/
COPY --from=annals src ${IN_IMAGE}/src
RUN sed -i 's#"file://[^"]*"#"${IN_IMAGE}"#' deno.json
`
      : ""
  }# The domain is loaded once, so that everything it imports is in the image: the container needs no registry. A build
# has none of the variables of domain.toml, so that is read only if the domain cannot be loaded without what it grants.
RUN deno cache client.ts && deno task annals --version \\
  && (deno task start --dry-run --config=/dev/null || deno task start --dry-run) \\
  && mkdir -p .annals && chown -R deno:deno /app /deno-dir

USER deno
# Exit code 1 when this container's server is not among those that run, or cannot reach its store.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 \\
  CMD ["deno", "run", "-A", "@annals/annals/cli", "--domain=./domain.ts", "health"]
CMD ["deno", "run", "-A", "@annals/annals/server", "--domain=./domain.ts"]
`;

/** `compose.yaml` of a new project. */
export const composeText = (clone: string | null): string =>
  `# The server with Redis and PostgreSQL: \`docker compose up --build\`. More servers: \`--scale server=3\`.
# Commands: \`docker compose exec server deno task client list\`.
# A line like DATABASE_PASSWORD=letters-and-digits in a file .env, before the first start, chooses the password.
services:
  server:
    build:
      context: .
${
    clone === null
      ? ""
      : `      additional_contexts:\n        annals: ${JSON.stringify(clone).replaceAll("$", "$$$$")}\n`
  }    environment:
      REDIS_URL: redis://redis:6379/0
      DATABASE_URL: postgres://annals:\${DATABASE_PASSWORD:-annals}@postgres:5432/annals
    depends_on:
      redis: { condition: service_healthy }
      postgres: { condition: service_healthy }
    restart: unless-stopped
    # Longer than a server takes to stop.
    stop_grace_period: 20s
  redis:
    image: redis:7-alpine
    command: redis-server --appendonly yes --maxmemory-policy noeviction
    volumes: [redis:/data]
    healthcheck:
      test: redis-cli ping
      interval: 2s
  postgres:
    image: postgres:17-alpine
    environment:
      POSTGRES_PASSWORD: \${DATABASE_PASSWORD:-annals}
      POSTGRES_DB: annals
    volumes: [postgres:/var/lib/postgresql/data]
    configs: [{ source: role, target: /docker-entrypoint-initdb.d/role.sql }]
    healthcheck:
      test: pg_isready -U postgres -d annals
      interval: 2s
configs:
  # The server's role is no superuser: it may make its schema, and nothing else.
  role:
    content: |
      create role annals login password '\${DATABASE_PASSWORD:-annals}';
      grant create on database annals to annals;
volumes:
  redis:
  postgres:
`;

/** What neither git nor an image should have. */
export const GITIGNORE_TEXT = `# The log, and everything that is made of it.
.annals/
.env
node_modules/
coverage/
`;

/** `.dockerignore` of a new project. */
export const DOCKERIGNORE_TEXT = `.git
.annals
.env
node_modules
coverage
`;
