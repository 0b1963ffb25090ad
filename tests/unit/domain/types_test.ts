import {
  aggregate,
  command,
  commandHandler,
  event,
  eventHandler,
  projection,
  projector,
  publisher,
  subscriber,
  type,
} from "@annals/annals";
import { z } from "zod";

// Checked by the compiler: each @ts-expect-error fails the check when the mistake below it compiles.

const Opened = event("Opened", { schema: z.object({ id: z.string(), amount: z.int() }) });
const Closed = event("Closed", { schema: type<{ reason: string }>() });
const Foreign = event("Foreign", { schema: type<{ x: number }>() });
const Open = command("Open", { schema: z.object({ id: z.string() }), target: (payload) => payload.id });
const Thing = aggregate("Thing", {
  events: [Opened, Closed],
  initial: () => ({ amount: 0, reason: null as string | null }),
  evolve: {
    Opened: (state, event) => ({ ...state, amount: event.payload.amount }),
    Closed: (state, event) => ({ ...state, reason: event.payload.reason }),
  },
});
const Row = projection("Row", { key: "id", schema: z.object({ id: z.string(), amount: z.int() }) });

export function mistakes(): void {
  // @ts-expect-error: a payload field of the wrong type
  Opened({ id: "a", amount: "1" });
  // @ts-expect-error: a payload field that is missing
  Closed({});
  // @ts-expect-error: the target reads a field that the payload does not have
  command("X", { schema: z.object({ id: z.string() }), target: (payload) => payload.other });
  aggregate("A", {
    events: [Opened],
    initial: () => 0,
    // @ts-expect-error: evolve lacks an event
    evolve: {},
  });
  aggregate("A", {
    events: [Opened],
    initial: () => 0,
    evolve: {
      // @ts-expect-error: the state that evolve returns is not the state
      Opened: () => "text",
    },
  });
  aggregate("A", {
    events: [Closed],
    initial: () => "",
    // @ts-expect-error: a payload field that does not exist
    evolve: { Closed: (_state, event) => event.payload.amount },
  });
  event("Amounted", {
    version: 2,
    schema: z.object({ amount: z.int() }),
    // @ts-expect-error: the newest version is not what the last upcast makes
    upcast: { 1: (v1: { value: number }) => ({ sum: v1.value }) },
  });
  event("Amounted", {
    version: 3,
    schema: z.object({ amount: z.int() }),
    // @ts-expect-error: an upcast is missing
    upcast: { 2: (v2: { value: number }) => ({ amount: v2.value }) },
  });
  commandHandler("H", Thing, {
    commands: [Open],
    // @ts-expect-error: an event that is made and not returned
    handle: { Open: () => void Opened({ id: "a", amount: 1 }) },
  });
  commandHandler("H", Thing, {
    commands: [Open],
    handle: {
      // @ts-expect-error: the return is forgotten
      Open: (_state, { payload }) => {
        Opened({ id: payload.id, amount: 1 });
      },
    },
  });
  commandHandler("H", Thing, {
    commands: [Open],
    // @ts-expect-error: an event that the aggregate does not have
    handle: { Open: () => Foreign({ x: 1 }) },
  });
  commandHandler("H", Thing, {
    commands: [Open],
    // @ts-expect-error: a command that is not handled
    handle: {},
  });
  commandHandler("H", Thing, {
    commands: [Open],
    handle: {
      Open: (state, command, context) => {
        state.amount satisfies number;
        command.payload.id satisfies string;
        context.version satisfies number;
        // @ts-expect-error: a state field that does not exist
        state.missing;
        // @ts-expect-error: a payload field that does not exist
        command.payload.missing;
        // @ts-expect-error: a context field that does not exist
        context.missing;
        // @ts-expect-error: an event of another aggregate
        context.append(Thing, "a", Foreign({ x: 1 }));
        return Opened({ id: command.payload.id, amount: 1 });
      },
    },
  });
  eventHandler("E", {
    events: [Opened],
    on: {
      Opened: (event, context) => {
        event.payload.amount satisfies number;
        // @ts-expect-error: a row field that is missing
        context.put(Row, { id: "a" });
        // @ts-expect-error: an event is not a command
        context.send(Opened({ id: "a", amount: 1 }));
        context.send(Open({ id: "a" }));
      },
    },
  });
  const Other = projection("Other", { key: "id", schema: z.object({ id: z.string() }) });
  eventHandler("E", {
    events: [Opened],
    projections: [Other],
    on: {
      Opened: (_event, context) => {
        context.put(Other, { id: "a" });
        // @ts-expect-error: a projection that is not one of its own
        context.put(Row, { id: "a", amount: 1 });
        // @ts-expect-error: a projection that is not one of its own
        context.remove(Row, "a");
      },
    },
  });
  eventHandler("E", {
    events: [Opened],
    // @ts-expect-error: a function for an event that is not listed
    on: { Opened: () => {}, Closed: () => {} },
  });
  projector("P", Row, {
    events: [Opened],
    on: {
      // @ts-expect-error: a row of the wrong type
      Opened: () => ({ id: "a", amount: "1" }),
    },
  });
  publisher("F", {
    events: [Opened],
    source: "/",
    as: {
      Opened: ({ payload }) => {
        payload.amount satisfies number;
        return { type: "t", data: payload };
      },
    },
  });
  publisher("F", {
    events: [Opened],
    source: "/",
    // @ts-expect-error: a function for an event that is not listed
    as: { Opened: () => null, Closed: () => null },
  });
  // @ts-expect-error: the return is forgotten
  publisher("F", { events: [Opened], source: "/", as: { Opened: () => {} } });
  subscriber("S", {
    type: "t",
    schema: z.object({ id: z.string() }),
    to: ({ data, id }) => {
      id satisfies string;
      // @ts-expect-error: a field that the data do not have
      data.missing;
      return Open({ id: data.id });
    },
  });
  // @ts-expect-error: an event is not a command
  subscriber("S", { type: "t", schema: type<{ id: string }>(), to: ({ data }) => Opened({ id: data.id, amount: 1 }) });
  // @ts-expect-error: a key that the row does not have
  projection("R", { key: "other", schema: z.object({ id: z.string() }) });
}

Deno.test("the types of the model refuse wrong names, payloads, states and contexts", () => {
  // That this file compiles is the test: `deno test` type-checks it.
});
