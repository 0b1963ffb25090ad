import assert from "node:assert/strict";
import {
  aggregate,
  command,
  commandHandler,
  domain,
  DomainRuleError,
  event,
  eventHandler,
  projection,
  type,
} from "@annals/annals";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { running } from "./running.ts";

type Id = { readonly id: string };
const Joined = event("Joined", { schema: type<Id>() });
const Greeted = event("Greeted", { schema: type<Id>() });
const Members = aggregate("Members", {
  events: [Joined, Greeted],
  initial: () => 0,
  evolve: { Joined: (n) => n, Greeted: (n) => n + 1 },
});
const target = ({ id }: Id) => id;
const Join = command("Join", { schema: type<Id>(), target });
const Greet = command("Greet", { schema: type<Id>(), target });
const Sulk = projection("Sulk", { key: "id", schema: type<{ id: string; why: string }>() });
const Desk = commandHandler("Desk", Members, {
  commands: [Join, Greet],
  handle: {
    Join: (_n, { payload }) => Joined(payload),
    Greet: (_n, { payload }) => {
      if (payload.id === "shy") throw new DomainRuleError("id", "does not want to be greeted");
      if (payload.id === "odd") throw new Error("odd");
      return Greeted(payload);
    },
  },
});

Deno.test("an event handler that asks for it is told of the refusals of its commands, and of no others", async () => {
  const policy = eventHandler("Greeter", {
    events: [Joined],
    commands: [Greet],
    on: { Joined: ({ payload }, context) => context.send(Greet(payload)) },
    refused: {
      Greet: ({ command, payload, status, rule }, context) =>
        context.put(Sulk, { id: payload.id, why: `${command} ${status}: ${rule}` }),
    },
  });
  const other = eventHandler("Other", {
    events: [Joined],
    on: { Joined: ({ payload }, context) => context.send(Greet(payload)) },
  });
  const club = domain("club", { aggregates: [Members], handlers: [Desk, policy, other] });
  assert.deepEqual(club.categoriesOf(policy), ["club::members", "club::greeter:inbox"]);
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  for (const id of ["ann", "shy", "odd"]) await send(club, Join({ id }));
  // From a client: nobody is to be told.
  await send(club, Greet({ id: "shy" }));
  await settle(club);
  assert.deepEqual(await types("Greeted"), ["Greeted ann", "Greeted ann"]);
  assert.deepEqual((await store.listRows("Sulk")).map(({ row }) => JSON.parse(row!)), [
    { id: "odd", why: "Greet failed: odd" },
    { id: "shy", why: "Greet refused: id: does not want to be greeted" },
  ]);
  assert.deepEqual(await types("$CommandEnd"), ["$CommandEnd shy", "$CommandEnd odd"]);
  // What follows from the command has nothing of the sender.
  const [greeted] = await store.readLog({ type: "Greeted" });
  assert.equal(greeted.metadata, null);
  await store.close();
});

Deno.test("an event handler says what to do for each command that it wants to hear of", () => {
  assert.throws(
    () => eventHandler("Greeter", { events: [Joined], commands: [Greet], on: { Joined: () => {} } }),
    /handler "Greeter": it has no function for "Greet"/,
  );
  // deno-lint-ignore no-constant-condition
  if (false) {
    eventHandler("Greeter", {
      events: [Joined],
      commands: [Greet],
      on: { Joined: () => {} },
      // @ts-expect-error Nobody sends Join.
      refused: { Greet: () => {}, Join: () => {} },
    });
  }
});
