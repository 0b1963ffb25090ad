/** What a project of a clone says about it; nothing that varies is in a paragraph, which formatting would break anew. */
const ofClone = (clone: string): string => `
## The package

\`links\` in \`deno.json\` takes Annals from a clone. If the clone moves, change the
line. Without it, and with a version in \`imports\` (\`jsr:@annals/annals@^0.1.0\`),
the package comes from JSR.

\`\`\`
${clone}
\`\`\`
`;

const DOCS = "Then read the documentation of the package, https://jsr.io/@annals/annals.";

const DOCS_OF_CLONE = `Then read the folder \`docs\` of the clone, beginning with \`start.md\` and
\`modelling.md\`.`;

/**
 * `README.md` of a new project.
 *
 * @param name The domain's name.
 * @param clone The folder of the clone that the package comes from; `null` for a registry.
 */
export const readmeText = (name: string, clone: string | null): string => {
  const docs = clone === null ? DOCS : DOCS_OF_CLONE;
  return `# ${name}

A bank whose accounts are made of events, on
[Annals](https://jsr.io/@annals/annals). It needs [Deno](https://deno.com) 2.9
or newer (\`npm install --global deno\`), and nothing else.

\`\`\`sh
deno task start                              # the server; Ctrl+C stops it
\`\`\`

and in another terminal, in the same folder:

\`\`\`sh
deno task client open alice "Alice Johnson"  # AccountOpened, and the row that shows it
deno task client deposit alice 5000
deno task client withdraw alice 1200         # the server logs a large withdrawal
deno task client withdraw alice 9999         # refused: the balance may not fall below zero
deno task client list
\`\`\`

<http://127.0.0.1:8440> shows what happens: groups, rows, the log. If another
server has that address already, this one says so; give it another one in a file
\`domain.toml\`, beside \`domain.ts\`:

\`\`\`toml
[server.http]
listen = "127.0.0.1:8441"
\`\`\`

Stop the server, start it again: everything is there, in the folder \`.annals\`.
Remove it to begin anew.

| file                         | what                                                                      |
| ---------------------------- | ------------------------------------------------------------------------- |
| \`domain.ts\`                  | events, aggregate, commands, projection, event handler                    |
| \`domain_test.ts\`             | its rules as given, when, then: \`deno task test\`, without server or store |
| \`client.ts\`                  | sends commands and reads rows; what a web server would do                 |
| \`deno.json\`                  | tasks and imports                                                         |
| \`Dockerfile\`, \`compose.yaml\` | the server with Redis and PostgreSQL                                      |

## Change it

Change \`domain.ts\`, run \`deno check\` and \`deno task test\`, and start the server
again. A wrong name of an event or a wrong payload does not compile.

- **A new event** has to be in \`events\` of its aggregate and in \`evolve\`; if
  rows depend on it, also in \`events\` and \`on\` of the projector.
- **A new command** has to be in \`commands\` and \`handle\` of a command handler.
- **An event that is stored stays as it is.** To change its payload, raise its
  \`version\` and give it an \`upcast\`.
- **Other rows**: raise the \`version\` of the projection, and its rows are made
  anew from all events.
- **An effect outside** (mail, HTTP) belongs into an event handler. Its code
  runs without permissions: it declares what it needs
  (\`permissions: { net: ["smtp.example.com:587"] }\`), and a file \`domain.toml\`
  grants it. The server prints the lines to add.

${docs}

## Look inside

\`\`\`sh
deno task annals subscriptions status        # how far each handler is
deno task annals events search --type MoneyWithdrawn
deno task annals events read ${name}::account-alice
deno task annals dlq list                    # messages that handlers gave up on
deno task annals doctor                      # what is wrong, and what to type
deno task annals config show                 # every setting, and where it comes from
deno task annals --help
\`\`\`

## Redis and PostgreSQL

The same on a Redis and a PostgreSQL of yours, with as many servers as you
start:

\`\`\`sh
export REDIS_URL=redis://localhost:6379/0 DATABASE_URL=postgres://user:password@localhost:5432/database
deno task start
\`\`\`

The client and \`deno task annals\` need the same two variables. Tables are made
in the schema \`annals\`; nothing moves over from SQLite by itself
(\`deno task annals export\` and \`import\` do that).

With Docker, everything at once:

\`\`\`sh
docker compose up --build
docker compose exec server deno task client open alice "Alice Johnson"
\`\`\`
${clone === null ? "" : ofClone(clone)}`;
};
