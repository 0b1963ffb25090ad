# The server with the example domain. Put your own domain beside it, and name it in domain.toml.
FROM denoland/deno:2.9.6

WORKDIR /app
COPY deno.json deno.lock mod.ts server.ts domain.toml ./
COPY src src
COPY examples examples
# Everything that is imported is in the image: the container needs no registry.
RUN deno cache server.ts src/isolation/host.ts src/isolation/worker.ts src/cli/annals.ts examples/fidelis/cli.ts examples/fidelis/domain.ts \
  && mkdir -p .annals && chown -R deno:deno /app /deno-dir

USER deno
# Exit code 1 when this container's engine is not among those that run, or cannot reach its store.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 \
  CMD ["deno", "run", "-A", "src/cli/annals.ts", "health"]
CMD ["deno", "run", "-A", "server.ts", "--domain=fidelis"]
