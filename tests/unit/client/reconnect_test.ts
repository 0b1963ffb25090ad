import assert from "node:assert/strict";
import { command, commandHandler, type Domain, domain } from "@annals/annals";
import { aggregate, event, type } from "@annals/annals";
import { Client } from "../../../src/client/client.ts";
import { reconnecting } from "../../../src/client/reconnect.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { Scheduler } from "../../../src/outbox/scheduler.ts";
import { StoreUnavailableError } from "../../../src/store/errors.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";
import type { Commit } from "../../../src/store/port.ts";

const Done = event("Done", { schema: type<Record<string, never>>() });
const Thing = aggregate("Thing", { events: [Done], initial: () => 0, evolve: { Done: (n) => n + 1 } });
const Do = command("Do", { schema: type<{ id: string }>(), target: ({ id }) => id });
const things: Domain = domain("things", {
  aggregates: [Thing],
  handlers: [commandHandler("Doer", Thing, { commands: [Do], handle: { Do: () => Done({}) } })],
});

/** A client whose first commit is made, and whose answer is lost; meanwhile something happens. */
function losing(meanwhile: (store: MemoryEventStore) => Promise<unknown> = () => Promise.resolve()) {
  const store = new MemoryEventStore();
  const commit = store.commit.bind(store);
  const state = { isLosing: true, commits: 0 };
  store.commit = async (given: Commit) => {
    state.commits++;
    const result = await commit(given);
    if (!state.isLosing) return result;
    state.isLosing = false;
    await meanwhile(store);
    throw new StoreUnavailableError("Lost the connection before it answered", "unsure", true);
  };
  const config = loadConfig({ text: "", env: () => undefined });
  return { store, state, client: new Client(things, reconnecting(store), config) };
}

Deno.test("a command that is scheduled, and whose answer is lost, is scheduled once, also if it was sent meanwhile", async () => {
  const waiting = losing();
  await waiting.client.process(Do({ id: "a" }), { after: "1h" });
  assert.equal((await waiting.store.scheduled()).length, 1);
  assert.equal(waiting.state.commits, 1);

  const sent = losing((store) => new Scheduler({ store, outbox: true }).release());
  await sent.client.process(Do({ id: "a" }), { after: "0ms" });
  assert.deepEqual(await sent.store.scheduled(), []);
  assert.equal(await sent.store.lastPosition(), 1);
});

Deno.test("a command whose cancellation is not answered was cancelled, unless it was sent", async () => {
  const { client, state, store } = losing();
  state.isLosing = false;
  await client.process(Do({ id: "a" }), { after: "1h", key: "k" });
  state.isLosing = true;
  assert.equal(await client.cancel("k"), true);
  assert.deepEqual(await store.scheduled(), []);
  assert.equal(await client.cancel("k"), false);

  await client.process(Do({ id: "a" }), { after: "0ms", key: "k" });
  const scheduled = store.scheduled.bind(store);
  store.scheduled = async (options) => {
    const found = await scheduled(options);
    store.scheduled = scheduled;
    await new Scheduler({ store, outbox: true }).release();
    return found;
  };
  assert.equal(await client.cancel("k"), false);
  assert.equal(await store.lastPosition(), 1);
});
