import {
  aggregate,
  command,
  commandHandler,
  domain,
  DomainDefinitionError,
  event,
  eventHandler,
  projection,
  projector,
  type,
} from "@annals/annals";
import { inMemory } from "@annals/annals/testing";
import assert from "node:assert/strict";

// What slips into handlers, and must not slip through.

const In = event("In", { schema: type<{ by: number }>() });
const Out = event("Out", { schema: type<{ by: number }>() });
const Fine = event("Fine", { schema: type<{ by: number }>() });
const Purse = aggregate("Purse", {
  events: [In, Out, Fine],
  initial: () => 0,
  evolve: {
    In: (level, { payload }) => level + payload.by,
    Out: (level, { payload }) => level - payload.by,
    Fine: (level, { payload }) => level - payload.by,
  },
  invariants: { "may not hold more than 10": (level) => level <= 10 },
});
type Transfer = { from: string; to: string; by: number; how: string };
const Move = command("Move", { schema: type<Transfer>(), target: ({ from }) => from });
const Charge = command("Charge", { schema: type<{ id: string }>(), target: ({ id }) => id });
const Row = projection("Row", { key: "id", schema: type<{ id: string; count: number }>() });
let keep: (() => unknown) | undefined;

const mover = commandHandler("Mover", Purse, {
  commands: [Move, Charge],
  handle: {
    Move: async (_level, { payload: { to, by, how } }, context) => {
      const append = () => context.append(Purse, to, In({ by }));
      if (how === "later") keep = () => context.append(Purse, to, In({ by }));
      else if (how === "caught") await append().catch(() => {});
      else if (how === "awaited") await append();
      else void append();
      return Out({ by });
    },
    Charge: () => Fine({ by: 1 }),
  },
});
const purses = domain("purses", {
  aggregates: [Purse],
  handlers: [
    mover,
    eventHandler("Policy", {
      events: [Out],
      on: {
        Out: ({ aggregateId, payload }, context) => void (payload.by > 5 && context.send(Charge({ id: aggregateId }))),
      },
    }),
    projector("RowProjector", Row, {
      events: [In, Out, Fine],
      on: {
        In: (row, { aggregateId }) => ({ id: aggregateId, count: (row?.count ?? 0) + 1 }),
        Out: (row, { aggregateId }) => ({ id: aggregateId, count: (row?.count ?? 0) + 1 }),
        Fine: (row, { aggregateId, payload }) => ({
          id: payload.by > 0 ? aggregateId : "else",
          count: -(row?.count ?? 0),
        }),
      },
    }),
  ],
});

for (const how of ["awaited", "forgotten"]) {
  Deno.test(`what a command appends elsewhere is stored with it, ${how} or not: both or neither`, async () => {
    await using client = await inMemory(purses);
    const level = async (id: string) => (await client.load(Purse, id)).state;
    const good = await client.process(Move({ from: "a", to: "b", by: 3, how }));
    assert.deepEqual(good.outcome, { status: "accepted", events: ["In", "Out"] });
    assert.deepEqual([await level("a"), await level("b")], [-3, 3]);
    const bad = await client.process(Move({ from: "a", to: "b", by: 8, how }));
    assert.equal(bad.outcome?.status, "refused");
    assert.deepEqual([await level("a"), await level("b")], [-3, 3]);
  });
}

Deno.test("a handler may catch that an append was refused, and go on without it", async () => {
  await using client = await inMemory(purses);
  const { outcome } = await client.process(Move({ from: "a", to: "b", by: 11, how: "caught" }));
  assert.equal(outcome?.status, "accepted");
  assert.equal((await client.load(Purse, "b")).version, -1);
});

Deno.test("the context of a command is closed when it is decided", async () => {
  await using client = await inMemory(purses);
  await client.process(Move({ from: "a", to: "b", by: 1, how: "later" }));
  await assert.rejects(async () => await keep!(), /handling of command Move has ended/);
});

Deno.test("in memory a command that an event handler sends is decided too, and projected, before process() returns", async () => {
  await using client = await inMemory(purses);
  await client.process(Move({ from: "a", to: "b", by: 6, how: "awaited" }));
  assert.equal((await client.load(Purse, "a")).state, -7);
  assert.deepEqual(await client.row(Row, "a"), { id: "a", count: -1 });
  assert.deepEqual(await client.store.deadLetters(), []);
});

Deno.test("a client can wait until projections show what it sent", async () => {
  await using client = await inMemory(purses);
  await client.process(Move({ from: "a", to: "b", by: 1, how: "awaited" }));
  assert.equal(await client.caughtUp({ timeout: 0 }), true);
  const append = { category: "purses::purse", stream: "purses::purse-a", expected: "any" as const, publish: true };
  const message = {
    id: crypto.randomUUID(),
    type: "In",
    schemaVersion: 1,
    time: 0,
    correlationId: "",
    causationId: null,
  };
  await client.store.commit({ appends: [{ ...append, messages: [{ ...message, data: '{"by":1}', metadata: null }] }] });
  assert.equal(await client.caughtUp({ timeout: 20 }), false);
});

Deno.test("a client waits for what was set aside after a crash, but not for what failed, or waits for other code", async () => {
  await using client = await inMemory(purses);
  await client.process(Move({ from: "a", to: "b", by: 1, how: "awaited" }));
  const at = { group: "RowProjector", category: "purses::purse", stream: "purses::purse-a", position: 1 };
  const aside = { ...at, attempts: 0, dueAt: 0, failures: [], replayed: false, awaits: null };
  const behind = { ...aside, position: 2 };
  for (
    const [head, isCaughtUp] of [
      [aside, false],
      [{ ...aside, attempts: 1 }, false],
      [{ ...aside, attempts: 1, failures: [{ at: 0, error: "" }] }, true],
      [{ ...aside, awaits: "In@2" }, true],
    ] as const
  ) {
    await client.store.commit({ defer: [head, behind] });
    assert.equal(await client.caughtUp({ timeout: 0 }), isCaughtUp, JSON.stringify(head));
  }
});

Deno.test("an event handler that says it writes a projection that another handler writes is refused when it is loaded", () => {
  const Ran = event("Ran", { schema: type<{ id: string }>() });
  const Runner = aggregate("Runner", { events: [Ran], initial: () => 0, evolve: { Ran: (n) => n + 1 } });
  const Row = projection("Row", { key: "id", schema: type<{ id: string }>() });
  const writing = (name: string) => eventHandler(name, { events: [Ran], projections: [Row], on: { Ran: () => {} } });
  const keeping = projector("RowProjector", Row, { events: [Ran], on: { Ran: (_row, { payload }) => payload } });
  for (
    const handlers of [[keeping, writing("Writer")], [writing("Writer"), keeping], [writing("One"), writing("Two")]]
  ) {
    assert.throws(
      () => domain("running", { aggregates: [Runner], handlers }),
      /writes rows of projection "Row", and so does ".*": they would overwrite each other's/,
    );
  }
  domain("running", { aggregates: [Runner], handlers: [writing("Writer")] });
});

Deno.test("two projectors of one projection are refused: they would overwrite each other's rows", () => {
  const other = projector("OtherProjector", Row, { events: [In], on: { In: (row) => row } });
  const handlers = [...purses.handlers.values(), other];
  assert.throws(
    () => domain("purses", { aggregates: [Purse], handlers }),
    /"RowProjector" and "OtherProjector" both keep the rows of projection "Row"/,
  );
});

Deno.test("a row that belongs under another key is a mistake of the projector, and is said", async () => {
  const Odd = projection("Odd", { key: "id", schema: type<{ id: string }>() });
  const odd = projector("OddProjector", Odd, {
    events: [In, Out, Fine],
    on: { In: () => null, Out: () => ({ id: "zzz" }), Fine: () => null },
  });
  await using client = await inMemory(domain("purses", { aggregates: [Purse], handlers: [mover, odd] }));
  await client.process(Move({ from: "a", to: "b", by: 1, how: "awaited" }));
  const [letter] = await client.store.deadLetters();
  assert.match(letter.error, /"OddProjector" made a row of projection "Odd" whose "id" is "zzz" from the row of "a"/);
});

Deno.test("a command without a target, and what is no command, are refused where they are made", async () => {
  assert.throws(() => Charge({ id: "" }), {
    name: "DomainDefinitionError",
    message: /command "Charge": its target must be an aggregate's id, but ""/,
  });
  await using client = await inMemory(purses);
  await assert.rejects(client.process(Charge as any), DomainDefinitionError);
  await assert.rejects(client.process({ id: "a" } as any), /not a command, like process/);
});

Deno.test("a handler that returns nothing fails its command: the event may have been forgotten; [] is no event", async () => {
  const forgetful = (decision: unknown) =>
    domain("slips", {
      aggregates: [Purse],
      handlers: [
        commandHandler("Charger", Purse, { commands: [Charge], handle: { Charge: () => decision as never } }),
      ],
    });
  for (const nothing of [undefined, null, Promise.resolve(undefined)]) {
    await using client = await inMemory(forgetful(nothing));
    await assert.rejects(
      client.process(Charge({ id: "a" })),
      /The handler of "Charge" returned (undefined|null); return an event, several, or \[\] \(missing return\?\)/,
    );
  }
  await using client = await inMemory(forgetful([]));
  assert.equal((await client.process(Charge({ id: "a" }))).outcome?.status, "accepted");
});

const Opened = event("Opened", { schema: type<{ at: number; tags?: string[] }>() });
const Do = command("Do", { schema: type<{ id: string; what: string }>(), target: ({ id }) => id });
const Note = projection("Note", { key: "id", schema: type<{ id: any; n?: number }>() });
const Stranger = aggregate("Stranger", { events: [], initial: () => 0, evolve: {} });

interface Case {
  readonly decide?: (context: any, command: any, state: any) => unknown;
  readonly evolve?: (state: any, event: any) => unknown;
  readonly invariant?: (state: any) => unknown;
  readonly project?: () => unknown;
  readonly react?: (context: any) => unknown;
  /** What the error says, or the rule. */
  readonly told: RegExp;
}

const SLIPS: Record<string, Case> = {
  "an event type that is not called": { decide: () => Opened, told: /"Opened" itself: call it with a payload/ },
  "a command type that is not called": { react: (c) => c.send(Do), told: /Cannot send "Do" itself: call it/ },
  "an aggregate of no domain": {
    decide: (c) => c.load(Stranger, "1"),
    told: /"Stranger" is not one of domain "slips"; add it to "aggregates"/,
  },
  "a name in place of an aggregate": {
    decide: (c) => c.load("Thing", "1"),
    told: /Cannot use "Thing" as an aggregate/,
  },
  "a field that is no text": {
    decide: (c) => (c.reserve(undefined, "x"), []),
    told: /its field must be a non-empty string/,
  },
  "a payload that is changed into what is no JSON": {
    decide: () => {
      const opened = Opened({ at: 1 });
      (opened.payload as { at: unknown }).at = NaN;
      return opened;
    },
    told: /Payload of "Opened" is refused: at: NaN is not a JSON number/,
  },
  "a payload that is too long": {
    decide: () => Opened({ at: 1, tags: ["x".repeat(17 << 20)] }),
    told: /17\d+ bytes of JSON are more than max_message_bytes/,
  },
  "a command that is changed": { decide: (_c, command) => (command.id = "x", []), told: /read only|Cannot assign/ },
  "evolve that returns nothing": {
    decide: () => Opened({ at: 1 }),
    evolve: () => undefined,
    told: /evolve of "Thing" for "Opened" returned undefined \(missing return\?\)/,
  },
  "evolve that is asynchronous": {
    decide: () => Opened({ at: 1 }),
    evolve: (state) => Promise.resolve(state),
    told: /returned a promise; return the new state/,
  },
  "an invariant that is asynchronous": {
    decide: () => Opened({ at: 1 }),
    invariant: () => Promise.resolve(false),
    told: /Invariant "holds" of "Thing" returned a promise; return true or false, synchronously/,
  },
  "a date in a state that is changed": {
    decide: (_c, _command, state) => (state.at.setFullYear(1999), []),
    told: /changes the state in place|Cannot change a frozen/,
  },
  "a projector that returns nothing": {
    decide: () => Opened({ at: 1 }),
    project: () => undefined,
    told: /"Noter" returned undefined for "Opened"; return the row, or null to delete it \(missing return\?\)/,
  },
  "a row that is read without a key": {
    react: (c) => c.get(Put, undefined),
    told: /Cannot read a row of projection "Put": the key from get in "Reactor" is wrong: undefined is not a non-empty/,
  },
  "a row that is read by a symbol": { react: (c) => c.get(Put, Symbol()), told: /is not a non-empty string/ },
  "a name in place of a projection": { react: (c) => c.get("Put", "x"), told: /Cannot use "Put" as a projection/ },
  "a name in place of a projection of which a row is removed": {
    react: (c) => c.remove("Put", "x"),
    told: /Cannot use "Put" as a projection/,
  },
  "nothing in place of a projection": {
    react: (c) => c.put(undefined, {}),
    told: /Cannot use undefined as a projection/,
  },
  "a command that is returned in place of being sent": {
    react: () => Do({ id: "1", what: "x" }),
    told: /"Reactor" returned a message for "Opened", which has no effect: pass it to context.send/,
  },
  "commands that are returned by an asynchronous handler": {
    react: () => Promise.resolve([Do({ id: "1", what: "x" })]),
    told: /returned a message for "Opened", which has no effect/,
  },
  "a value to claim that is no text": {
    decide: (c) => (c.reserve("email", undefined), []),
    told: /Cannot claim or release a value of "email": undefined is not a non-empty string/,
  },
  "a row without a key": { react: (c) => c.put(Put, { n: 1 }), told: /undefined is not a non-empty string/ },
  "a row whose key is an object": { react: (c) => c.put(Put, { id: {} }), told: /is not a non-empty string/ },
  "an error without a text": { react: () => Promise.reject(new Error("", { cause: new Error("deep") })), told: /deep/ },
  "several errors in one": {
    react: () => Promise.reject(new AggregateError([new Error("one"), new Error("two")], "both")),
    told: /both; one; two/,
  },
};
const Put = projection("Put", { key: "id", schema: type<{ id: any; n?: number }>() });

for (const [name, slip] of Object.entries(SLIPS)) {
  Deno.test(`${name} is an error that says what to do`, async () => {
    const Thing = aggregate("Thing", {
      events: [Opened],
      initial: (): any => ({ at: new Date(0) }),
      evolve: { Opened: slip.evolve ?? ((state: any) => state) },
      invariants: { holds: slip.invariant ?? (() => true) } as never,
    });
    const slips = domain("slips", {
      aggregates: [Thing],
      handlers: [
        commandHandler("Doer", Thing, {
          commands: [Do],
          handle: {
            Do: (state, message, context) =>
              (slip.decide ?? (() => Opened({ at: 1 })))(context, message, state) as never,
          },
        }),
        projector("Noter", Note, {
          events: [Opened],
          on: { Opened: (_row, { aggregateId: id }) => (slip.project ?? (() => ({ id })))() as never },
        }),
        eventHandler("Reactor", {
          events: [Opened],
          on: { Opened: (_event, context) => slip.react?.(context) as never },
        }),
      ],
    });
    await using client = await inMemory(slips);
    const failed = await client.process(Do({ id: "a", what: name })).then(() => null, (error: Error) => error.message);
    const told = failed ?? (await client.store.deadLetters())[0]?.error ?? "nothing";
    assert.match(told, slip.told);
  });
}

Deno.test("unique values of different fields are different, whatever the fields are called", async () => {
  const Thing = aggregate("Thing", { events: [Opened], initial: () => 0, evolve: { Opened: (n) => n + 1 } });
  const Claim = command("Claim", {
    schema: type<{ id: string; field: string; value: string }>(),
    target: ({ id }) => id,
  });
  const claims = domain("claims", {
    aggregates: [Thing],
    handlers: [commandHandler("Claimer", Thing, {
      commands: [Claim],
      handle: { Claim: (_n, { payload }, context) => (context.reserve(payload.field, payload.value), []) },
    })],
  });
  await using client = await inMemory(claims);
  const claim = async (id: string, field: string, value: string) =>
    (await client.process(Claim({ id, field, value }))).outcome?.status;
  assert.equal(await claim("1", "tag:a", "b"), "accepted");
  assert.equal(await claim("2", "tag", "a:b"), "accepted");
  assert.equal(await claim("3", "tag%3Aa", "b"), "accepted");
  assert.equal(await claim("4", "tag", "a:b"), "refused");
  assert.equal(await claim("5", "e-mail", "x".repeat(500)), "accepted");
});
