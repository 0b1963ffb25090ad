import { aggregate, command, commandHandler, domain, event, processManager, type } from "@annals/annals";
import assert from "node:assert/strict";
import { isInternal, isOfCommands } from "../../../src/messages/envelope.ts";
import { given } from "@annals/annals/testing";
import {
  Money,
  Ordered,
  Orders,
  Paid,
  Parcel,
  PayBack,
  PlaceOrder,
  Remind,
  Ship,
  Shipped,
  shop,
} from "./order_domain.ts";

const orderId = "o";
const ordered = [orderId, Ordered({ orderId, cents: 5 })] as const;
const paid = [orderId, Paid({ orderId, cents: 5 })] as const;
const shipped = [orderId, Shipped({ orderId })] as const;

Deno.test("an instance begins, reacts, and ends", async () => {
  const { shop: domain, Delivery } = shop();
  await given(domain, ordered).sent().process(Delivery, orderId, { status: "running", state: { cents: 5 } });
  await given(domain, ordered).when(paid).sent(Ship({ orderId })).when(shipped).sent()
    .process(Delivery, orderId, { status: "ended" });
  await given(domain).when(PlaceOrder({ orderId, cents: 5 })).process(Delivery, orderId, { status: "running" })
    .process(Delivery, "another", { status: "absent", state: undefined });
});

Deno.test("timers fire when they are due, with what they were set with, again and again", async () => {
  const { shop: domain, Delivery } = shop();
  await given(domain, ordered).elapse("13d").sent().elapse("2d").sent(Remind({ orderId, times: 1 }))
    .elapse("21d").sent(Remind({ orderId, times: 2 }), Remind({ orderId, times: 3 }))
    .process(Delivery, orderId, { status: "ended" });
});

Deno.test("a timer that was cancelled, set again or ended with its instance does not fire", async () => {
  const { shop: domain } = shop();
  await given(domain, ordered, paid).elapse("100d").sent();
  await given(domain, ordered, paid, shipped).elapse("100d").sent();
  const again = shop({
    react: {
      Ordered: (_state, _event, step) => step.after("14d", "unpaid", { times: 1 }),
      Paid: (_state, _event, step) => [step.after("7d", "unpaid", { times: 3 })],
      Shipped: (_state, _event, step) => step.done(),
    },
  });
  await given(again.shop, ordered).elapse("1d").when(paid).elapse("6d").sent().elapse("2d")
    .sent(Remind({ orderId, times: 3 }));
});

Deno.test("a refused command comes back, and what was done is undone", async () => {
  const { shop: domain, Delivery } = shop();
  const id = "sold out o";
  await given(domain, [id, Ordered({ orderId: id, cents: 5 })]).when([id, Paid({ orderId: id, cents: 5 })]).settling()
    .sent(Ship({ orderId: id }), PayBack({ orderId: id, cents: 5 })).process(Delivery, id, { status: "ended" });
});

Deno.test("steps are undone last first, each after the one before, then what was said to follow", async () => {
  const { shop: domain, Delivery } = shop({
    react: {
      Ordered: (_state, _event, step) => [
        step.undoWith(Remind({ orderId: step.id, times: 1 })),
        step.undoWith(Remind({ orderId: step.id, times: 2 })),
      ],
      Paid: (
        _state,
        _event,
        step,
      ) => [step.undoWith(Remind({ orderId: step.id, times: 3 }))],
      Shipped: (_state, _event, step) => [step.undo(Remind({ orderId: step.id, times: 0 })), step.done()],
    },
  });
  const remind = (times: number) => Remind({ orderId, times });
  await given(domain, ordered, paid).when(shipped).sent(remind(3)).process(Delivery, orderId, { status: "undoing" })
    // What is to follow follows, also if that is said twice.
    .when(shipped).sent()
    .settling().sent(remind(2), remind(1), remind(0), remind(0))
    .process(Delivery, orderId, { status: "ended" });
});

Deno.test("an instance may undo its steps and go on", async () => {
  const { shop: domain, Delivery } = shop({
    react: {
      Ordered: (_state, _event, step) => step.undoWith(Remind({ orderId: step.id, times: 1 })),
      Paid: (_state, _event, step) => step.undo(),
      Shipped: (_state, _event, step) => [step.undo(), Ship({ orderId: step.id })],
    },
  });
  await given(domain, ordered).when(paid).settling().sent(Remind({ orderId, times: 1 }))
    .process(Delivery, orderId, { status: "running" })
    // Nothing is left to be undone.
    .when(shipped).sent(Ship({ orderId }));
});

Deno.test("an event for an instance that has not begun waits until it begins", async () => {
  const { shop: domain, Delivery } = shop();
  await given(domain, paid).sent().process(Delivery, orderId, { status: "absent" })
    .when(ordered).sent(Ship({ orderId })).process(Delivery, orderId, { status: "running", state: { cents: 5 } })
    .elapse("2h").sent();
  await given(domain, paid, shipped).when(ordered).sent(Ship({ orderId }))
    .process(Delivery, orderId, { status: "ended" });
});

Deno.test("what has waited for an hour for an instance that does not begin fails", async () => {
  await assert.rejects(
    () => Promise.resolve(given(shop().shop, paid, shipped).elapse("59m").sent().elapse("2m")),
    /Instance "o" of "Delivery" has not begun: 2 events wait for it, the first is "Paid" at 1/,
  );
});

Deno.test("an event for an instance that has not begun is ignored, or fails, if the process says so", async () => {
  const ignoring = shop({ absent: "ignore" });
  await given(ignoring.shop, paid, ordered).elapse("15d").sent(Remind({ orderId, times: 1 }));
  await assert.rejects(
    () => Promise.resolve(given(shop({ absent: "fail" }).shop, paid)),
    /Instance "o" of "Delivery" has not begun, and "Paid" is for it/,
  );
});

Deno.test("an event for an instance that has ended is ignored, fails, or begins it again, as the process says", async () => {
  const { shop: domain, Delivery } = shop();
  await given(domain, ordered, paid, shipped).when(paid, ordered).sent().elapse("100d").sent()
    .process(Delivery, orderId, { status: "ended" });
  await assert.rejects(
    () => Promise.resolve(given(shop({ ended: "fail" }).shop, ordered, paid, shipped, paid)),
    /Instance "o" of "Delivery" has ended, and "Paid" is for it/,
  );
  const restarting = shop({ ended: "restart" });
  const other = [orderId, Ordered({ orderId, cents: 7 })] as const;
  await given(restarting.shop, ordered, paid, shipped).when(paid).sent().when(other)
    .process(restarting.Delivery, orderId, { status: "running", state: { cents: 7 } })
    .elapse("15d").sent(Remind({ orderId, times: 1 }));
});

Deno.test("a second start of an instance that runs is ignored", async () => {
  const { shop: domain, Delivery } = shop();
  await given(domain, ordered).elapse("10d").when([orderId, Ordered({ orderId, cents: 9 })])
    .process(Delivery, orderId, { status: "running", state: { cents: 5 } })
    .elapse("5d").sent(Remind({ orderId, times: 1 }));
});

Deno.test("an event may be for several instances, or for none", async () => {
  const { shop: domain, Delivery } = shop({
    correlate: {
      Ordered: ({ payload }) => payload.orderId.split("+"),
      Paid: () => null,
      Shipped: ({ payload }) => payload.orderId,
    },
  });
  await given(domain, ["a+b+a", Ordered({ orderId: "a+b+a", cents: 1 })], ["a", Paid({ orderId: "a", cents: 1 })])
    .process(Delivery, "a", { status: "running" }).process(Delivery, "b", { status: "running" }).sent()
    .elapse("15d").sent(Remind({ orderId: "a", times: 1 }), Remind({ orderId: "b", times: 1 }));
});

const WRONG: readonly (readonly [what: string, changes: Parameters<typeof shop>[0], message: RegExp])[] = [
  [
    "a reaction that returns nothing",
    { react: { Ordered: () => {} } as never },
    /returned undefined for "Ordered"; return what to do, or \[\] \(missing return\?\)/,
  ],
  ["an effect that is not returned", {
    react: { Ordered: (_s: unknown, _e: unknown, step: any) => (step.done(), []) } as never,
  }, /called step\.done\(\) for "Ordered" and did not return the result: nothing would come of it/],
  [
    "a promise",
    { react: { Ordered: () => Promise.resolve([]) } as never },
    /returned a promise for "Ordered"; reactions are pure/,
  ],
  [
    "a command that is not declared",
    { react: { Ordered: () => PlaceOrder({ orderId: "x", cents: 1 }) } as never },
    /returned command "PlaceOrder"; return commands of its "commands"/,
  ],
  [
    "an effect of another reaction",
    { react: { Ordered: () => ({ effect: "done" }) } as never },
    /returned an object; return commands of its "commands"/,
  ],
  ["a state that is changed in place", {
    evolve: { Ordered: ((state: any) => Object.assign(state, { cents: 1 })) as never },
  }, /changes the state in place/],
  [
    "a state that is not returned",
    { evolve: { Ordered: (() => {}) as never } },
    /evolve of "Delivery" for "Ordered" returned undefined/,
  ],
  ["a timer that is not declared", {
    react: { Ordered: (_s: unknown, _e: unknown, step: any) => step.after("1h", "paid", {}) } as never,
  }, /has no timer "paid"; add it to "timeouts"/],
  ["no length of time", {
    react: { Ordered: (_s: unknown, _e: unknown, step: any) => step.after("soon", "unpaid", { times: 1 }) } as never,
  }, /"soon" is no length of time/],
  ["an instance that is no id", {
    correlate: { Ordered: () => undefined, Paid: () => null, Shipped: () => null } as never,
  }, /cannot tell which instance "Ordered" is for: undefined is not a non-empty string/],
];

for (const [what, { react, ...changes } = {}, message] of WRONG) {
  Deno.test(`a process that returns what it may not fails: ${what}`, async () => {
    const functions = { Paid: () => [], Shipped: () => [], Ordered: () => [], ...react };
    await assert.rejects(
      () => Promise.resolve(given(shop({ react: functions as never, ...changes }).shop, ordered)),
      message,
    );
  });
}

const UNDEFINED: readonly (readonly [what: string, changes: object, message: RegExp])[] = [
  ["an event without correlation", { correlate: {} }, /it has no function for "Ordered"/],
  [
    "a command without a refusal",
    { refused: { Remind: () => [], Ship: () => [] } },
    /"refused" has no function for "PayBack", which it sends/,
  ],
  ["a timer without a function", { late: {} }, /"late" has no function for "unpaid"/],
  ["no start", { starts: [] }, /no event begins it; name one in "starts"/],
  [
    "a start that is not among its events",
    { starts: ["Reminded"] },
    /it starts by "Reminded", which is not in its events/,
  ],
];

for (const [what, changes, message] of UNDEFINED) {
  Deno.test(`a process manager is refused where it is defined: ${what}`, () => {
    assert.throws(() => shop(changes as never), message);
  });
}

Deno.test("a refusal that comes after the end is ignored", async () => {
  const { shop: domain, Delivery } = shop({
    react: {
      Ordered: () => [],
      Paid: (_state, _event, step) => [Ship({ orderId: step.id }), step.done()],
      Shipped: () => [],
    },
  });
  const id = "sold out o";
  await given(domain, [id, Ordered({ orderId: id, cents: 5 })], [id, Paid({ orderId: id, cents: 5 })]).settling()
    .sent(Ship({ orderId: id })).process(Delivery, id, { status: "ended" });
});

Deno.test("what an instance does to an event or a time, another does not see", async () => {
  const both = { Ordered: () => ["a", "b"], Paid: () => null, Shipped: () => null };
  const { shop: domain } = shop({
    correlate: both as never,
    react: {
      Ordered: (_state, _event, { now, after }) => {
        now.setDate(now.getDate() + 1);
        return after("1d", "unpaid", { times: now.getDate() });
      },
      Paid: () => [],
      Shipped: () => [],
    },
    late: { unpaid: (_state, { times }, step) => Remind({ orderId: step.id, times }) },
  });
  await given(domain, ordered).elapse("1d").sent(
    Remind({ orderId: "a", times: 2 }),
    Remind({ orderId: "b", times: 2 }),
  );
  const changing = shop({
    correlate: both as never,
    react: {
      Ordered: (_s, { payload }) => (Object.assign(payload, { cents: 1 }), []),
      Paid: () => [],
      Shipped: () => [],
    },
  });
  await assert.rejects(() => Promise.resolve(given(changing.shop, ordered)), /in place|read only/);
});

Deno.test("a process that does not end fails its test, and does not stop it", async () => {
  const again = shop({
    react: {
      Ordered: (_state, _event, step) => step.after("0ms", "unpaid", { times: 0 }),
      Paid: () => [],
      Shipped: () => [],
    },
    late: { unpaid: (_state, _data, step) => step.after("0ms", "unpaid", { times: 0 }) },
  });
  await assert.rejects(
    () => Promise.resolve(given(again.shop, ordered).elapse("1s")),
    /It does not come to an end: ".*" fired 2000 times within 1000 ms/,
  );
});

Deno.test("an aggregate may be called like a part of a process", async () => {
  for (const name of ["Process", "Inbox", "Command"]) {
    const Begun = event("Begun", { schema: type<{ id: string }>() });
    const Begin = command("Begin", { schema: type<{ id: string }>(), target: ({ id }) => id });
    const It = aggregate(name, { events: [Begun], initial: () => 0, evolve: { Begun: (n) => n + 1 } });
    const Its = commandHandler("Its", It, {
      commands: [Begin],
      handle: { Begin: (_n, { payload }) => Begun(payload) },
    });
    const own = domain("own", { aggregates: [It], handlers: [Its] });
    assert.equal(isInternal(own.categoryOf(It)), false);
    assert.equal(isOfCommands(own.categoryOf(It)), false);
    assert.equal(isOfCommands(own.categoriesOf(Its)[0]), true);
  }
});

Deno.test("two process managers never share an inbox, and what they send has a handler", () => {
  const { Delivery } = shop();
  const OTHER = processManager("DELIVERY", {
    events: [Ordered],
    commands: [],
    starts: ["Ordered"],
    correlate: { Ordered: () => null },
    initial: () => null,
    evolve: {},
    react: { Ordered: () => [] },
    refused: {},
  });
  const aggregates = [Orders, Money, Parcel];
  assert.throws(
    () => domain("shop", { aggregates, handlers: [OTHER, Delivery] }),
    /handlers "DELIVERY" and "Delivery" would share the category "shop::delivery:inbox"; rename one/,
  );
  assert.throws(
    () => domain("shop", { aggregates, handlers: [Delivery] }),
    /"Delivery" sends "Remind", and no handler takes this command/,
  );
});
