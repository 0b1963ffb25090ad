import {
  aggregate,
  command,
  commandHandler,
  domain,
  DomainDefinitionError,
  event,
  eventHandler,
  type,
} from "@annals/annals";
import assert from "node:assert/strict";
import fidelis from "../../../examples/fidelis/domain.ts";

const Happened = event("Happened", { schema: type<{ n: number }>() });
const Other = event("Other", { schema: type<{ n: number }>() });
const Do = command("Do", { schema: type<{ id: string }>(), target: (payload) => payload.id });
const options = { events: [Happened], initial: () => 0, evolve: { Happened: (n: number) => n + 1 } } as const;
const One = aggregate("One", options);
const handler = (name: string, of = One) =>
  commandHandler(name, of, { commands: [Do], handle: { Do: () => Happened({ n: 1 }) } });

const watcher = (options: object) =>
  eventHandler("Watcher", { events: [Happened], on: { Happened: () => {} }, ...options } as never);

const wrong: [string, () => unknown, RegExp][] = [
  ["retries that are no number", () => watcher({ retries: NaN }), /"Watcher": "retries" is NaN; expected a whole/],
  ["negative retries", () => watcher({ retries: -1 }), /"Watcher": "retries" is -1/],
  ["permissions that are null", () => watcher({ permissions: null }), /"Watcher": "permissions" is no object/],
  ["a permission as text", () => watcher({ permissions: { net: "x" } }), /"net" is no list of texts/],
  [
    "a permission that cannot be had",
    () => watcher({ permissions: { run: ["ls"] } }),
    /no permission "run".*known: net/,
  ],
  [
    "a misspelt function",
    () => aggregate("Two", { ...options, evolve: { Hapened: (n: number) => n } } as never),
    /no function for "Happened"; is "Hapened" a misspelling of it\?/,
  ],
  [
    "a function that all objects have",
    () => eventHandler("W", { events: [event("toString", { schema: type<object>() })], on: {} } as never),
    /no function for "toString"/,
  ],
  ["a bad name", () => domain("Bad Name", { aggregates: [], handlers: [] }), /lower-case/],
  [
    "two aggregates of one name",
    () => domain("d", { aggregates: [One, aggregate("One", { ...options, events: [Happened] })], handlers: [] }),
    /two aggregates/,
  ],
  ["two aggregates of one category", () =>
    domain("d", {
      aggregates: [One, aggregate("ONE", { events: [Other], initial: () => 0, evolve: { Other: (n) => n } })],
      handlers: [],
    }), /share the category/],
  [
    "an event of two aggregates",
    () => domain("d", { aggregates: [One, aggregate("Two", options)], handlers: [] }),
    /of both/,
  ],
  [
    "two handlers of one name",
    () => domain("d", { aggregates: [One], handlers: [handler("H"), handler("H")] }),
    /two handlers/,
  ],
  [
    "a command handled twice",
    () => domain("d", { aggregates: [One], handlers: [handler("H"), handler("I")] }),
    /handled by both/,
  ],
  [
    "a handler of an aggregate that is not listed",
    () => domain("d", { aggregates: [], handlers: [handler("H")] }),
    /aggregate "One"/,
  ],
  [
    "a handler of an event that no aggregate has",
    () =>
      domain("d", { aggregates: [One], handlers: [eventHandler("E", { events: [Other], on: { Other: () => {} } })] }),
    /no aggregate has/,
  ],
  [
    "an evolve for an unlisted event",
    () => aggregate("X", { ...options, evolve: { ...options.evolve, Nope: (n: number) => n } } as never),
    /not in its events/,
  ],
  ["a handler without a function", () => eventHandler("E", { events: [Other], on: {} as never }), /no function/],
  [
    "a handler function that is not listed",
    () => eventHandler("E", { events: [Other], on: { Other: () => {}, Othr: () => {} } as never }),
    /known: Other/,
  ],
  ["a handler that handles nothing", () => eventHandler("E", { events: [], on: {} }), /handles nothing/],
];
for (const [name, make, message] of wrong) {
  Deno.test(`the domain refuses ${name} when it loads`, () => {
    assert.throws(make, (error: any) => error instanceof DomainDefinitionError && message.test(error.message));
  });
}

Deno.test("domain() names categories and finds who decides", () => {
  const found = fidelis.handlerOf("MakeDeposit");
  assert.equal(found?.name, "AccountCommandHandler");
  assert.deepEqual(fidelis.categoriesOf(found!), ["fidelis::account:command"]);
  assert.deepEqual(fidelis.categoriesOf(fidelis.handlers.get("NotificationHandler")!), ["fidelis::account"]);
});
