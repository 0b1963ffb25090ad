import type { Client } from "@annals/annals/client";
import assert from "node:assert/strict";
import { seededRandom } from "../../examples/fidelis/simulate.ts";
import tally, { Add, Noted, Seen } from "../fixtures/tally/domain.ts";
import { killPid, type Server, Site, until } from "../support/server.ts";

const KILLS = 32;
const STREAMS = 40;

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

/** Sends commands without pause. */
function drive(client: Client): { readonly sent: Set<number>; stop(): Promise<void> } {
  const sent = new Set<number>();
  let going = true;
  const lane = async (k: number): Promise<void> => {
    for (let i = 0; going; i++) {
      const n = k * 1_000_000 + i;
      await client.process(Add({ id: String(n % STREAMS), n }));
      sent.add(n);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  };
  const lanes = Promise.all([1, 2, 3, 4].map(lane));
  return {
    sent,
    stop: async () => {
      going = false;
      await lanes;
    },
  };
}

async function settled({ store, domain }: Client): Promise<void> {
  const last = await store.lastPosition();
  for (const handler of domain.handlers.values()) {
    for (const category of domain.categoriesOf(handler)) {
      await until(async () => {
        const [checkpoint] = await store.checkpoints(handler.name);
        const behind = await store.lag(category, checkpoint?.position ?? 0);
        return behind.messages === 0 && (await store.parked(handler.name)).length === 0;
      }, () => `${handler.name} to reach ${last}`);
    }
  }
}

async function audit(client: Client, sent: ReadonlySet<number>): Promise<void> {
  const events = await client.store.readLog({ category: "tally::tally", limit: 1_000_000 });
  const added = events.map((event) => JSON.parse(event.data).n as number);
  assert.deepEqual(new Set(added), sent, "an event was lost, or came from nowhere");
  assert.equal(added.length, sent.size, "an event is doubled");
  assert.deepEqual(await client.store.deadLetters(), []);
  const streams = Map.groupBy(events, (event) => event.stream.slice("tally::tally-".length));
  for (const { id, ns } of await client.rows(Seen)) {
    assert.deepEqual(
      ns,
      streams.get(id)!.map((event) => JSON.parse(event.data).n),
      `stream ${id} was projected otherwise`,
    );
  }
  assert.equal((await client.rows(Seen)).length, streams.size);
  const noted = await client.rows(Noted);
  assert.equal(noted.length, sent.size, "a message did not reach the event handler");
}
