import assert from "node:assert/strict";
import { type Ground, pause, survives } from "../support/ground.ts";
import { killPid, type Server, until } from "../support/server.ts";

const KILLS = 30;

/** Kills a server, and puts another in its place. */
async function replace({ site, servers }: Ground, at: number): Promise<Server> {
  await servers[at].kill();
  return servers[at] = site.start();
}

survives("any of three servers is killed, at random moments", async (ground) => {
  const { random, servers } = ground;
  for (let kill = 0; kill < KILLS; kill++) {
    const at = Math.floor(random() * servers.length);
    const [host] = servers[at].hostPids();
    // A host alone: its engine starts another.
    if (random() < 0.5 && host !== undefined) killPid(host);
    else await replace(ground, at);
    await pause(random() * 800);
  }
  await Promise.all(servers.map((server) => server.running()));
}, { servers: 3 });

survives(
  "partitions move with their servers: several workers a group, one server after the other is killed",
  async (ground) => {
    const { servers, client, random } = ground;
    const owners = async () =>
      new Set(
        (await client.store.leases()).filter(({ group, isHeld }) => !group.startsWith("$") && isHeld)
          .map(({ owner }) => owner),
      );
    await until(async () => (await owners()).size === 3, () => "all three to have some");
    for (let kill = 0; kill < 6; kill++) {
      await replace(ground, kill % servers.length);
      await pause(random() * 1_500);
    }
    await Promise.all(servers.map((server) => server.running()));
    await until(async () => (await owners()).size === 3, () => "all three to have some again");
  },
  { servers: 3, toml: '[server.workers]\nAdder = 2\n[server.partitions]\n"tally::tally" = 3\n' },
);

survives("all three servers are killed at once, three times", async (ground) => {
  const { random, servers } = ground;
  for (let round = 0; round < 3; round++) {
    await Promise.all(servers.map((_, at) => replace(ground, at)));
    await Promise.all(servers.map((server) => server.running()));
    await pause(random() * 1_000);
  }
}, { servers: 3 });

survives("a server is suspended for longer than its leases, and wakes up", async ({ servers, client }) => {
  const engine = servers[0].enginePid();
  const owners = async () =>
    new Set((await client.store.leases()).filter(({ isHeld }) => isHeld).map(({ owner }) => owner));
  await until(async () => (await owners()).size === 2, () => "both to have some");
  Deno.kill(engine, "SIGSTOP");
  // The other takes over within 5 s.
  await until(async () => (await owners()).size === 1, () => "the other to have all", 5_500);
  await pause(1_500);
  Deno.kill(engine, "SIGCONT");
  await until(async () => (await owners()).size === 2, () => "it to take part again", 10_000);
});

survives("a rolling deploy: new servers start while old ones drain, and nothing stands still", async (ground) => {
  const { site, servers, client } = ground;
  let longest = 0;
  let last = performance.now();
  let position = 0;
  let watching = true;
  const watch = (async () => {
    while (watching) {
      // None before the first batch.
      const reached = (await client.store.checkpoints("SeenProjector"))[0]?.position ?? 0;
      const now = performance.now();
      if (reached > position) {
        longest = Math.max(longest, now - last);
        position = reached;
        last = now;
      }
      await pause(20);
    }
  })();
  for (let at = 0; at < servers.length; at++) {
    const next = await site.start().running();
    assert.equal(await servers[at].stop(), 0);
    servers[at] = next;
  }
  await pause(1_000);
  watching = false;
  await watch;
  assert.ok(longest < 5_000, `the projector stood still for ${Math.round(longest)} ms`);
  console.log(`longest pause of the projector during the deploy: ${Math.round(longest)} ms`);
});
