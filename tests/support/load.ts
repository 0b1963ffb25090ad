import type { Client } from "@annals/annals/client";
import assert from "node:assert/strict";
import { Add, Noted, Seen } from "../fixtures/tally/domain.ts";
import type { StoreUnavailableError } from "../../src/store/errors.ts";
import { until } from "./server.ts";

const STREAMS = 40;

/** Commands on their way. */
export interface Load {
  /** The numbers of those that were taken. */
  readonly sent: Set<number>;
  /** What was said to those that were refused. */
  readonly refusals: string[];
  /** Sends no more. */
  stop(): Promise<void>;
}

/** Sends commands without pause. */
export function drive(client: Client): Load {
  const sent = new Set<number>();
  const refusals: string[] = [];
  let going = true;
  const lane = async (k: number): Promise<void> => {
    for (let i = 0; going; i++) {
      const n = k * 1_000_000 + i;
      try {
        await client.process(Add({ id: String(n % STREAMS), n }));
        sent.add(n);
      } catch (error) {
        // Refused for certain: whoever sent it knows.
        if ((error as StoreUnavailableError).reason !== "full") throw error;
        refusals.push((error as Error).message);
      }
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  };
  const lanes = Promise.all([1, 2, 3, 4].map(lane));
  // Whoever stops it hears of it.
  lanes.catch(() => {});
  return {
    sent,
    refusals,
    stop: async () => {
      going = false;
      await lanes;
    },
  };
}

/** Waits until every group has handled everything. */
export async function settled({ store, domain }: Client): Promise<void> {
  const last = await store.lastPosition();
  for (const handler of domain.handlers.values()) {
    for (const category of domain.categoriesOf(handler)) {
      let state = "";
      await until(
        async () => {
          const all = (await store.checkpoints(handler.name)).filter((checkpoint) => checkpoint.category === category);
          const partitions = Math.max(0, ...all.map((checkpoint) => checkpoint.partitions));
          const own = all.filter((checkpoint) => checkpoint.partitions === partitions);
          const position = own.length < partitions
            ? 0
            : Math.min(...own.map((checkpoint) => checkpoint.position), Infinity);
          const behind = await store.lag(category, own.length === 0 ? 0 : position);
          const deferred = await store.deferred(handler.name);
          state = `it is at ${position}, ${behind.messages} behind, ${deferred.length} deferred: ${
            JSON.stringify(deferred.slice(0, 3))
          }`;
          return behind.messages === 0 && deferred.length === 0;
          // Machines differ, and other tests run at the same time.
        },
        () => `${handler.name} to reach ${last}; ${state}`,
        180_000,
      );
    }
  }
}

/** What the store knows of a command whose event is missing: enough to tell who lost it. */
async function whereabouts({ store }: Client, n: number): Promise<string> {
  const commands = await store.readLog({ category: "tally::tally:command", limit: 1_000_000 });
  const at = commands.findIndex((command) => JSON.parse(command.data).n === n);
  if (at < 0) return `command ${n} is not in the log`;
  const events = await store.readLog({ category: "tally::tally", limit: 1_000_000 });
  const near = await Promise.all(
    commands.slice(Math.max(0, at - 3), at + 4).map(async (command) => {
      const outcome = await store.outcome(command.id);
      const event = events.find(({ causationId }) => causationId === command.id);
      return `${command.position} ${command.stream} sent ${new Date(command.time).toISOString()}: ${
        JSON.stringify(outcome)
      }, event ${event?.position} of ${event && new Date(event.time).toISOString()}`;
    }),
  );
  return `command ${n}:\n${near.join("\n")}\ncheckpoints ${JSON.stringify(await store.checkpoints("Adder"))}`;
}

/** Checks that nothing was lost, doubled, or projected in another order. */
export async function audit(client: Client, sent: ReadonlySet<number>): Promise<void> {
  const events = await client.store.readLog({ category: "tally::tally", type: "Added", limit: 1_000_000 });
  const added = events.map((event) => JSON.parse(event.data).n as number);
  assert.deepEqual(await client.store.deadLetters(), []);
  const missing = sent.difference(new Set(added));
  if (missing.size > 0) assert.fail(`${missing.size} events were lost; ${await whereabouts(client, [...missing][0])}`);
  assert.deepEqual(new Set(added), sent, "an event came from nowhere");
  assert.equal(added.length, sent.size, "an event is doubled");
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
