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
  publisher,
  subscriber,
  type,
} from "@annals/annals";
import assert from "node:assert/strict";

// What code that nobody type-checked may pass when it defines a domain: each is refused where it is written.

const Rung = event("Rung", { schema: type<{ id: string }>() });
const Ring = command("Ring", { schema: type<{ id: string }>(), target: ({ id }) => id });
const evolve = { Rung: (n: number) => n + 1 };
const Bell = aggregate("Bell", { events: [Rung], initial: () => 0, evolve });
const Count = projection("Count", { key: "id", schema: type<{ id: string; n: number }>() });
const nothing = undefined as never;

const WRONG: readonly (readonly [what: string, define: () => unknown, message: RegExp])[] = [
  [
    "an event that is not defined yet",
    () => aggregate("Bell", { events: [nothing], initial: () => 0, evolve }),
    /aggregate "Bell": events\[0\] is undefined; it is used before it is defined, perhaps by two modules that import/,
  ],
  [
    "a command among events",
    () => eventHandler("Ears", { events: [Ring as never], on: {} as never }),
    /handler "Ears": events\[0\] is command "Ring", which cannot be one of its events/,
  ],
  [
    "no list",
    () => eventHandler("Ears", { events: Rung as never, on: {} as never }),
    /handler "Ears": "events" is no list; write events: \[ … \]/,
  ],
  [
    "no functions",
    () => eventHandler("Ears", { events: [Rung], on: nothing }),
    /handler "Ears": it has no functions/,
  ],
  [
    "an initial state in place of a function",
    () => aggregate("Bell", { events: [Rung], initial: 0 as never, evolve: evolve as never }),
    /aggregate "Bell": "initial" is no function; write initial: \(\) => …/,
  ],
  [
    "no evolve",
    () => aggregate("Bell", { events: [Rung], initial: () => 0, evolve: nothing }),
    /aggregate "Bell": it has no "evolve"/,
  ],
  [
    "a handler for no aggregate",
    () => commandHandler("Ringer", nothing, { commands: [Ring], handle: { Ring: () => Rung({ id: "a" }) } as never }),
    /handler "Ringer": aggregate\[0\] is undefined/,
  ],
  [
    "a subscriber without a type",
    () => subscriber("Payments", { type: nothing, schema: type<{ id: string }>(), to: () => [] }),
    /subscriber "Payments": "type" is undefined; expected a type of CloudEvents/,
  ],
  [
    "a subscriber that sends nothing",
    () => subscriber("Payments", { type: "t", schema: type<{ id: string }>(), to: nothing }),
    /subscriber "Payments": "to" is no function/,
  ],
  [
    "a publisher without a source",
    () => publisher("Feed", { events: [Rung], source: "my bank", as: { Rung: () => null } }),
    /publisher "Feed": "source" is "my bank"; expected a URI/,
  ],
  [
    "a publisher without a function for an event",
    () => publisher("Feed", { events: [Rung], source: "/bells", as: {} as never }),
    /handler "Feed": it has no function for "Rung"/,
  ],
  [
    "a projector of no projection",
    () => projector("Counter", nothing, { events: [Rung], on: {} as never }),
    /has no function for "Rung"|as a projection; pass what projection\(\) returned/,
  ],
  [
    "a handler that is not defined yet",
    () => domain("bells", { aggregates: [Bell], handlers: [nothing] }),
    /domain "bells": handlers\[0\] is undefined/,
  ],
  [
    "an aggregate among handlers",
    () => domain("bells", { aggregates: [Bell], handlers: [Bell as never] }),
    /domain "bells": handlers\[0\] is aggregate "Bell", which cannot be one of its handlers/,
  ],
  [
    "a name with a space",
    () => projection("My rows", { key: "id", schema: type<{ id: string }>() }),
    /projection "My rows": a name starts with a letter and has only letters, digits, "_", "\." and "-"/,
  ],
  [
    "an endless name",
    () => projection("P".repeat(201), { key: "id", schema: type<{ id: string }>() }),
    /its name has 201 characters; at most 200 are allowed/,
  ],
  ["no name", () => event(nothing, { schema: type<{ id: string }>() }), /event without a name: its name is no text/],
  [
    "no schema",
    () => projection("Rows", { key: "id" as never, schema: nothing }),
    /projection "Rows": its schema is not a Standard Schema/,
  ],
  [
    "no key",
    () => projection("Rows", { key: nothing, schema: type<{ id: string }>() }),
    /projection "Rows": "key" is not the name of a field/,
  ],
];

for (const [what, define, message] of WRONG) {
  Deno.test(`a definition is refused where it is written: ${what}`, () => {
    assert.throws(define, (error) => error instanceof DomainDefinitionError && message.test(error.message));
  });
}

Deno.test("an initial state that is a promise is refused when it is needed", () => {
  const Late = aggregate("Late", {
    events: [Rung],
    initial: (() => Promise.resolve(0)) as never,
    evolve: evolve as never,
  });
  assert.throws(() => Late.initial(), /initial of "Late" returned a promise; return the state itself/);
});

Deno.test("names may have what they need", () => {
  projection("my-rows.v2", { key: "id", schema: type<{ id: string }>() });
  event("bells.Rung_2", { schema: type<{ id: string }>() });
  assert.equal(Count.key, "id");
});
