import assert from "node:assert/strict";
import { seededRandom } from "../../examples/fidelis/simulate.ts";
import tally from "../fixtures/tally/domain.ts";
import { audit, drive, settled } from "../support/load.ts";
import { isAlive, killPid, Site, until } from "../support/server.ts";

const KILLS = 32;

/** A group whose host ends more often than a few times within a minute rests. */
const HOST_KILLS = 7;

Deno.test("killed at any moment under load, the server loses nothing, doubles nothing and keeps order", async () => {
  const seed = Number(Deno.env.get("ANNALS_TEST_SEED") ?? Math.floor(Math.random() * 1e9));
  try {
    await run(seed);
  } catch (error) {
    throw new Error(`with ANNALS_TEST_SEED=${seed}: ${(error as Error).message}`, { cause: error });
  }
});

async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  await using site = Site.make("tally", new URL("../fixtures/tally/domain.ts", import.meta.url));
  let server = await site.start().running();
  await using client = await site.connect(tally);
  const load = drive(client);
  let hostKills = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((resolve) => setTimeout(resolve, random() * 700));
    if (random() < 0.4 && hostKills < HOST_KILLS) {
      hostKills++;
      // A host alone: the engine starts another.
      const [host] = server.hostPids();
      if (host !== undefined) killPid(host);
    } else {
      const hosts = server.hostPids();
      await server.kill();
      await until(() => !hosts.some(isAlive), () => `the hosts ${hosts} to end with their engine`, 1_000);
      server = site.start();
      if (random() < 0.7) await server.running();
    }
  }
  await load.stop();
  await server.kill();
  server = await site.start().running();
  await settled(client).catch((error) => {
    throw new Error(`${error.message}; the server said:\n${server.stderr.split("\n").slice(-20).join("\n")}`);
  });
  assert.equal(await server.stop(), 0);
  await audit(client, load.sent);
}
