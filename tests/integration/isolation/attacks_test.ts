import { type Client, connect } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import assert from "node:assert/strict";
import hostile, { Ask, Seen } from "../../fixtures/hostile/domain.ts";
import { ATTACKS } from "../../fixtures/hostile/attacks.ts";
import { Server, until } from "../../support/server.ts";

const MODULE = new URL("../../fixtures/hostile/domain.ts", import.meta.url);
const TOML = `
[server]
handler_timeout_seconds = 1
max_heap_mb = 200
host_memory_mb = 512
[server.stream_subscription]
max_retries = 1
retry_delay_seconds = 0.05
`;

/** What must never be in what the server says. */
// deno-lint-ignore no-control-regex
const FORGED = /^\S+ ERROR Victim: forged|\x1b|^\s+at .*src\/(engine|subscriptions|store)/m;

for (const [about, attacks] of Object.entries(ATTACKS)) {
  Deno.test(`no attack by ${about} reaches the engine, the log or another group`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "annals-" });
    const file = `${folder}/domain.toml`;
    await Deno.writeTextFile(file, TOML);
    const args = [`--domain=${MODULE.href}?about=${about}`, `--config=${file}`];
    const server = await new Server(args, folder, { SECRET: "hunter2" }).running();
    const client = await connect(hostile, { config: loadConfig({ file }) });
    try {
      let sent = 0;
      for (const name of Object.keys(attacks)) {
        for (const kind of [name, "fine"]) await client.process(Ask({ id: `${++sent}`, kind }));
        const others = async () => await handled(client, "Victim") === sent && await handled(client, "Asker") > 0;
        await until(others, () => `the others after ${name}; the server said:\n${server.stderr.slice(-2_000)}`);
      }
      // Whatever became of them: done, dead, or at rest.
      for (const name of Object.keys(attacks)) {
        await until(
          async () => await concluded(client, server, name, sent),
          () => `${name} to be over; the server said:\n${server.stderr.slice(-3_000)}`,
          90_000,
        );
      }
      const events = await client.store.readLog({ category: "hostile::request", limit: 10_000 });
      assert.equal(events.length, sent);
      assert.ok(events.every(({ type, data }) => type === "Asked" && /^\{"kind":"\w+"\}$/.test(data)));
      assert.deepEqual(await client.row(Seen, "all"), { id: "all", n: sent });
      for (const letter of await client.store.deadLetters()) {
        assert.ok(letter.group in attacks, `${letter.group} has a dead letter: ${letter.error}`);
      }
      assert.doesNotMatch(server.stderr, FORGED);
      assert.doesNotMatch(server.stderr + server.stdout, /hunter2/);
      assert.equal(await server.stop(), 0);
    } finally {
      await client.close();
      await server.kill();
      await Deno.remove(folder, { recursive: true });
    }
  });
}

async function handled(client: Client, group: string): Promise<number> {
  if (group === "Victim") return (await client.row(Seen, "all"))?.n ?? 0;
  return (await client.store.checkpoints(group))[0]?.position ?? 0;
}

/** Whether a group has passed everything, or was given up, or rests. */
async function concluded(client: Client, server: Server, group: string, sent: number): Promise<boolean> {
  if (server.stderr.includes(`${group}: Its worker ended`)) return true;
  const checkpoint = (await client.store.checkpoints(group)).find(({ category }) => category === "hostile::request");
  return (checkpoint?.position ?? 0) >= sent && (await client.store.deferred(group)).length === 0;
}
