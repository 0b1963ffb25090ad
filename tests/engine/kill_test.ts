import assert from "node:assert/strict";
import { seededRandom } from "../../examples/fidelis/simulate.ts";
import tally from "../fixtures/tally/domain.ts";
import { audit, drive, settled } from "../support/load.ts";
import { killPid, type Server, Site, until } from "../support/server.ts";

const KILLS = 32;

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
  for (let kill = 0; kill < KILLS; kill++) {
    const began = server.stdout.length;
    await new Promise((resolve) => setTimeout(resolve, random() * 700));
    if (random() < 0.5) {
      // The engine alone: its launcher starts it again.
      const engine = server.enginePid();
      if (engine !== undefined) killPid(engine);
      if (random() < 0.5) {
        await until(() => server.stdout.slice(began).includes("Engine running"), () => "a new engine");
      }
    } else {
      await killBoth(server, random() < 0.5);
      server = site.start();
      if (random() < 0.7) await server.running();
    }
  }
  await load.stop();
  await server.kill();
  server = await site.start().running();
  await settled(client);
  assert.equal(await server.stop(), 0);
  await audit(client, load.sent);
}

/** Kills launcher and engine, or the launcher only: then the engine has to end by itself. */
async function killBoth(server: Server, launcherOnly: boolean): Promise<void> {
  const engine = server.enginePid();
  if (!launcherOnly) return await server.kill();
  server.signal("SIGKILL");
  await server.status;
  if (engine === undefined) return;
  await until(() => !alive(engine), () => `engine ${engine} to end with its launcher`, 2_000);
}

function alive(pid: number): boolean {
  try {
    return !/\) Z /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}
