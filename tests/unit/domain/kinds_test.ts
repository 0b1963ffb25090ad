import {
  aggregate,
  command,
  commandHandler,
  domain,
  event,
  type Handler,
  type HandlerKind,
  type,
} from "@annals/annals";
import { inMemory } from "@annals/annals/testing";
import assert from "node:assert/strict";
import { NO_EFFECTS } from "../../../src/handling/batch.ts";
import { describe } from "../../../src/isolation/describe.ts";

const Asked = event("Asked", { schema: type<{ n: number }>() });
const Request = aggregate("Request", { events: [Asked], initial: () => 0, evolve: { Asked: (n) => n + 1 } });
const Ask = command("Ask", { schema: type<{ id: string; n: number }>(), target: ({ id }) => id });

/** A kind that nobody else knows of. */
const witnessed: number[] = [];
const WITNESS: HandlerKind = {
  name: "witness",
  handles: () => [Asked],
  decidesFor: () => null,
  keeps: () => [],
  writes: { events: false, commands: false, rows: "none", outcomes: false, statements: false, deliveries: false },
  begin: () => ({
    prepare: () => Promise.resolve(),
    handle: ({ message }) => void witnessed.push((message.payload as { n: number }).n),
    characters: 0,
    effects: () => NO_EFFECTS,
    settle: () => {},
  }),
};

Deno.test("a kind of handler is data: one that nobody knows of is fed, described and waited for like any other", async () => {
  const watcher: Handler = { kind: WITNESS, name: "Watcher", permissions: {} };
  const teller = commandHandler("Asker", Request, {
    commands: [Ask],
    handle: { Ask: (_n, { payload }) => Asked({ n: payload.n }) },
  });
  const kinds = domain("kinds", { aggregates: [Request], handlers: [teller, watcher] });
  await using client = await inMemory(kinds);
  for (const n of [1, 2, 3]) await client.process(Ask({ id: "a", n }));
  assert.deepEqual(witnessed, [1, 2, 3]);
  const described = describe(kinds).handlers.find(({ name }) => name === "Watcher");
  assert.deepEqual(described?.categories, ["kinds::request"]);
  assert.equal(described?.kind, "witness");
});
