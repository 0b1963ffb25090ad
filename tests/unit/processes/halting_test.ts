import assert from "node:assert/strict";
import { type Domain, domain } from "@annals/annals";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { EventStoreSubscription } from "@annals/annals/subscriptions";
import { ProcessInspector } from "../../../src/processes/inspect.ts";
import { Ordered, Paid, Pay, PayBack, PlaceOrder, Ship, shop } from "./order_domain.ts";
import { running } from "./running.ts";

/** Lets a command handler throw; returns what mends it. The domains of these tests share their handlers. */
function breaking(domain: Domain, handler: string, command: string, text: string): () => void {
  const { handle } = domain.handlers.get(handler) as unknown as { handle: Record<string, unknown> };
  const whole = handle[command];
  handle[command] = () => {
    throw new Error(text);
  };
  return () => void (handle[command] = whole);
}

Deno.test("an instance that fails is set aside alone, with all that comes for it, until it is replayed", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  let isBroken = true;
  const { shop: domain } = shop({
    react: {
      Ordered: () => [],
      Paid: (_state, _event, step) => {
        if (isBroken && step.id === "a") throw new Error("odd");
        return Ship({ orderId: step.id });
      },
      Shipped: (_state, _event, step) => step.done(),
    },
  });
  for (const orderId of ["a", "b"]) {
    await send(domain, PlaceOrder({ orderId, cents: 1 }));
    await send(domain, Pay({ orderId, cents: 1 }));
  }
  await settle(domain);
  const [letter, ...others] = await store.deadLetters();
  assert.deepEqual([letter.group, letter.error, others.length], ["Delivery", "odd", 0]);
  assert.deepEqual(await types("Shipped"), ["Shipped b"]);
  // What comes for it later waits behind.
  await send(domain, Ship({ orderId: "a" }));
  await settle(domain);
  assert.deepEqual((await store.deferred("Delivery")).map(({ stream, awaits }) => [stream, awaits]), [
    ["shop::delivery:inbox-a", "a replay"],
    ["shop::delivery:inbox-a", null],
  ]);
  // A restart changes nothing, nor does a replay while it is broken.
  await settle(domain);
  await store.replayDeadLetters([letter.id]);
  await settle(domain);
  const [again] = await store.deadLetters();
  assert.notEqual(again.id, letter.id);
  assert.equal((await store.deferred("Delivery")).length, 2);
  isBroken = false;
  await store.replayDeadLetters([again.id]);
  await settle(domain);
  assert.deepEqual(await store.deferred("Delivery"), []);
  assert.deepEqual(await store.deadLetters(), []);
  assert.deepEqual(await types("Shipped"), ["Shipped b", "Shipped a", "Shipped a"]);
  await store.close();
});

Deno.test("a command that is given up comes back to its process, in the commit that gives it up", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const refusals: unknown[] = [];
  const { shop: domain } = shop({
    react: { Ordered: () => [], Paid: (_s, _e, step) => Ship({ orderId: step.id }), Shipped: () => [] },
    refused: {
      Remind: () => [],
      PayBack: () => [],
      Ship: ({ cents }, refusal, step) => {
        refusals.push(refusal);
        return [PayBack({ orderId: step.id, cents }), step.done()];
      },
    },
  });
  const mend = breaking(domain, "Warehouse", "Ship", "the warehouse is on fire");
  await send(domain, PlaceOrder({ orderId: "a", cents: 3 }));
  await send(domain, Pay({ orderId: "a", cents: 3 }));
  await settle(domain);
  mend();
  assert.deepEqual(refusals, [
    { command: "Ship", payload: { orderId: "a" }, status: "failed", rule: "the warehouse is on fire" },
  ]);
  assert.deepEqual(await types("PaidBack"), ["PaidBack a"]);
  // The command itself is a dead letter, as any.
  assert.deepEqual((await store.deadLetters()).map(({ group }) => group), ["Warehouse"]);
  await store.close();
});

Deno.test("what undoes a step and is refused sets the instance aside, with a dead letter", async () => {
  const store = new MemoryEventStore();
  const { send, settle } = running(store);
  const { shop: domain } = shop({
    react: {
      Ordered: () => [],
      Paid: (_s, _e, step) => [
        // More than was paid.
        step.undoWith(PayBack({ orderId: step.id, cents: 99 })),
        Ship({ orderId: step.id }),
      ],
      Shipped: () => [],
    },
  });
  await send(domain, PlaceOrder({ orderId: "sold out", cents: 3 }));
  await send(domain, Pay({ orderId: "sold out", cents: 3 }));
  await settle(domain);
  const [letter, ...others] = await store.deadLetters();
  assert.deepEqual([letter.group, others.length], ["Delivery", 0]);
  assert.equal(
    letter.error,
    'Instance "sold out" of "Delivery" cannot be undone: "PayBack" was refused: Money: cannot pay back more than was paid. Do by hand what it should have done, and abandon the instance',
  );
  assert.equal((await store.deferred("Delivery")).length, 1);
  await store.close();
});

Deno.test("a step that is gone from the code sets the instance aside, and is done once the code is back", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const react = {
    Ordered: (_s: unknown, _e: unknown, step: any) => step.after("0ms", "unpaid", { times: 4 }),
    Paid: () => [],
    Shipped: () => [],
  };
  const before = shop({ react });
  await send(before.shop, PlaceOrder({ orderId: "a", cents: 3 }));
  for (const name of ["OrderDesk", "DeliveryRouter", "Delivery"]) {
    const handler = before.shop.handlers.get(name)!;
    const subscription = new EventStoreSubscription({ domain: before.shop, handler, store });
    await subscription.runUntil(await store.lastPosition(), new AbortController().signal);
  }
  assert.equal((await store.scheduled()).length, 1);
  const after = shop({ timeouts: {} as never, late: {} as never, react: { ...react, Ordered: () => [] } });
  await new Promise((resolve) => setTimeout(resolve, 5));
  await settle(after.shop);
  const [letter] = await store.deadLetters();
  assert.equal(
    letter.error,
    'DomainDefinitionError: Timer "unpaid" of "Delivery" has fired, and "late" has no function for it',
  );
  const back = shop({ react, late: { unpaid: (_s, { times }, step) => Ship({ orderId: `${step.id} ${times}` }) } });
  await store.replayDeadLetters([letter.id]);
  await settle(back.shop);
  assert.deepEqual(await types("Shipped"), ["Shipped a 4"]);
  assert.deepEqual(await store.deadLetters(), []);
  await store.close();
});

Deno.test("an event that waits too long is a dead letter that lets its instance begin all the same", async () => {
  for (const absent of ["wait", "fail"] as const) {
    const store = new MemoryEventStore();
    const { send, settle, types } = running(store);
    const { shop: domain } = shop({ absent });
    await send(domain, Pay({ orderId: "a", cents: 3 }));
    await settle(domain);
    if (absent === "wait") {
      // Its hour passes.
      const [waiting] = await store.scheduled();
      await store.commit({ schedule: [{ ...waiting, due: { after: 0 } }] });
      await new Promise((resolve) => setTimeout(resolve, 2));
      await settle(domain);
    }
    const [letter, ...others] = await store.deadLetters();
    assert.match(letter.error, /Instance "a" of "Delivery" has not begun/);
    assert.equal(others.length, 0);
    await send(domain, PlaceOrder({ orderId: "a", cents: 3 }));
    await settle(domain);
    await store.replayDeadLetters([letter.id]);
    await settle(domain);
    assert.deepEqual(await types("Shipped"), ["Shipped a"], absent);
    assert.deepEqual(await store.deferred("Delivery"), []);
    await store.close();
  }
});

Deno.test("an instance that was set aside is abandoned also where it is remembered", async () => {
  const store = new MemoryEventStore();
  const { send, settle } = running(store);
  const { shop: domain } = shop({
    react: {
      Ordered: () => [],
      Paid: () => {
        throw new Error("odd");
      },
      Shipped: () => [],
    },
  });
  const handler = domain.handlers.get("Delivery")!;
  // One that goes on, as on a server, and remembers.
  const subscription = new EventStoreSubscription({
    domain,
    handler,
    store,
    settings: { maxRetries: 0, blockingTimeoutMs: 5 },
  });
  const stop = new AbortController();
  const going = subscription.run(stop.signal);
  const rest = { ...domain, handlers: new Map([...domain.handlers].filter(([name]) => name !== "Delivery")) };
  const until = async (done: () => Promise<boolean>) => {
    for (let i = 0; i < 400 && !await done(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(await done());
  };
  await send(domain, PlaceOrder({ orderId: "a", cents: 3 }));
  await send(domain, Pay({ orderId: "a", cents: 3 }));
  await settle(rest);
  await until(async () => (await store.deadLetters()).length === 1);
  const inspector = new ProcessInspector(store, "shop");
  assert.deepEqual((await inspector.instances("Delivery")).map(({ status }) => status), ["set aside"]);
  assert.ok(await inspector.abandon("Delivery", "a"));
  await until(async () => (await store.deferred("Delivery")).length === 0);
  assert.deepEqual((await inspector.instances("Delivery")).map(({ status }) => status), ["ended"]);
  assert.deepEqual(await store.deadLetters(), []);
  stop.abort();
  await going;
  await store.close();
});

Deno.test("what undoes a step is sent as the current version of the command, whatever code has remembered it", async () => {
  const { shop: domain, Delivery } = shop();
  const types = new Map(domain.types).set("PayBack", {
    ...domain.types.get("PayBack")!,
    version: 2,
    upcast: { 1: (payload: object) => ({ ...payload, why: "undone" }) },
  });
  const later = { ...domain, types };
  const store = new MemoryEventStore();
  const { send, settle } = running(store);
  await send(domain, PlaceOrder({ orderId: "sold out", cents: 3 }));
  await send(domain, Pay({ orderId: "sold out", cents: 3 }));
  for (const name of ["OrderDesk", "Till", "DeliveryRouter", "Delivery"]) {
    const handler = domain.handlers.get(name)!;
    const subscription = new EventStoreSubscription({ domain, handler, store });
    await subscription.runUntil(await store.lastPosition(), new AbortController().signal);
  }
  assert.equal(Delivery.name, "Delivery");
  await settle(later);
  const [sent] = await store.readLog({ type: "PayBack" });
  assert.deepEqual([sent.schemaVersion, JSON.parse(sent.data)], [2, { orderId: "sold out", cents: 3, why: "undone" }]);
  await store.close();
});

Deno.test("an event that the code does not react to any more sets the instance aside until it does, or is abandoned", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const before = shop();
  for (const orderId of ["a", "c"]) await send(before.shop, Ship({ orderId }));
  await send(before.shop, PlaceOrder({ orderId: "b", cents: 3 }));
  await send(before.shop, Pay({ orderId: "b", cents: 3 }));
  await settle(before.shop);
  const after = shop({
    events: [Ordered, Paid] as never,
    correlate: { Ordered: ({ payload }: any) => payload.orderId, Paid: ({ payload }: any) => payload.orderId } as never,
    react: { Ordered: () => [], Paid: (_s: unknown, _e: unknown, step: any) => Ship({ orderId: step.id }) } as never,
  });
  const read: number[] = [];
  const readAt = store.readAt.bind(store);
  store.readAt = (positions, options) => (read.push(...positions), readAt(positions, options));
  // It waits for what came too early, and this code would drop that.
  for (const orderId of ["a", "c"]) {
    await send(after.shop, PlaceOrder({ orderId, cents: 3 }));
    await send(after.shop, Pay({ orderId, cents: 3 }));
  }
  await settle(after.shop);
  assert.deepEqual(await store.deadLetters(), []);
  assert.deepEqual(await types("Shipped"), ["Shipped a", "Shipped c", "Shipped b"]);
  const inspector = new ProcessInspector(store, "shop");
  const aside = (await inspector.instances("Delivery")).filter(({ status }) => status === "set aside");
  assert.deepEqual(aside.map(({ id, error }) => [id, error]).sort(), [
    ["a", "waits for code that knows Delivery..Shipped@1"],
    ["c", "waits for code that knows Delivery..Shipped@1"],
  ]);
  assert.equal(await inspector.abandon("Delivery", "c"), true);
  await settle(after.shop);
  assert.deepEqual((await inspector.instances("Delivery")).map(({ id, status }) => [id, status]).sort(), [
    ["a", "set aside"],
    ["b", "ended"],
    ["c", "ended"],
  ]);
  // The code is back, as in the middle of a deploy.
  await settle(before.shop);
  assert.deepEqual(await store.deferred("Delivery"), []);
  assert.equal((await inspector.instances("Delivery")).find(({ id }) => id === "a")?.status, "ended");
  await store.close();
});

Deno.test("what undoes a step and was given up goes on once it is mended, replayed, and the instance tried again", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const { shop: domain } = shop();
  const mend = breaking(domain, "Till", "PayBack", "the till is jammed");
  await send(domain, PlaceOrder({ orderId: "sold out", cents: 3 }));
  await send(domain, Pay({ orderId: "sold out", cents: 3 }));
  await settle(domain);
  const letters = await store.deadLetters();
  assert.deepEqual(letters.map(({ group }) => group).sort(), ["Delivery", "Till"]);
  assert.match(
    letters.find(({ group }) => group === "Delivery")!.error,
    /cannot be undone: "PayBack" was failed: the till is jammed\. Mend it, replay its dead letter, and let the instance try again/,
  );
  const inspector = new ProcessInspector(store, "shop");
  // Before that, it changes nothing.
  await inspector.retry("Delivery", "sold out");
  await settle(domain);
  assert.equal((await inspector.instances("Delivery"))[0].status, "set aside");
  mend();
  await store.replayDeadLetters((await store.deadLetters({ group: "Till" })).map(({ id }) => id));
  await settle(domain);
  assert.deepEqual(await types("PaidBack"), ["PaidBack sold out"]);
  assert.equal((await inspector.instances("Delivery"))[0].status, "set aside");
  await inspector.retry("Delivery", "sold out");
  await settle(domain);
  assert.equal((await inspector.instances("Delivery"))[0].status, "ended");
  assert.deepEqual(await store.deadLetters(), []);
  assert.deepEqual(await store.deferred("Delivery"), []);
  assert.deepEqual(await types("PaidBack"), ["PaidBack sold out"]);
  await store.close();
});

Deno.test("an instance hears once of the end of a command, however often that is given up", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const heard: string[] = [];
  const { shop: domain } = shop({
    react: { Ordered: () => [], Paid: (_s, _e, step) => Ship({ orderId: step.id }), Shipped: () => [] },
    refused: {
      Remind: () => [],
      PayBack: () => [],
      Ship: ({ cents }, { status }, step) => {
        heard.push(status);
        return PayBack({ orderId: step.id, cents });
      },
    },
  });
  const mend = breaking(domain, "Warehouse", "Ship", "the warehouse is on fire");
  await send(domain, PlaceOrder({ orderId: "a", cents: 3 }));
  await send(domain, Pay({ orderId: "a", cents: 3 }));
  for (let i = 0; i < 3; i++) {
    await settle(domain);
    await store.replayDeadLetters((await store.deadLetters()).map(({ id }) => id));
  }
  await settle(domain);
  mend();
  assert.deepEqual(heard, ["failed"]);
  assert.deepEqual(await types("PaidBack"), ["PaidBack a"]);
  assert.deepEqual((await store.deadLetters()).map(({ group }) => group), ["Warehouse"]);
  await store.close();
});

Deno.test("an instance whose start fails can be abandoned, also if starts begin it again", async () => {
  const store = new MemoryEventStore();
  const { send, settle } = running(store);
  const { shop: domain } = shop({
    ended: "restart",
    react: {
      Ordered: () => {
        throw new Error("odd");
      },
      Paid: () => [],
      Shipped: () => [],
    },
  });
  await send(domain, PlaceOrder({ orderId: "a", cents: 3 }));
  await settle(domain);
  const inspector = new ProcessInspector(store, "shop");
  assert.equal((await inspector.instances("Delivery"))[0].status, "set aside");
  assert.equal(await inspector.abandon("Delivery", "a"), true);
  await settle(domain);
  assert.equal((await inspector.instances("Delivery"))[0].status, "ended");
  assert.deepEqual(await store.deadLetters(), []);
  await store.close();
});

Deno.test("in the middle of a deploy, code that has no such process tells it of refusals all the same", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const newer = shop().shop;
  const older = domain("shop", {
    aggregates: [...newer.aggregates.values()],
    handlers: [...newer.handlers.values()].filter(({ name }) => !name.startsWith("Delivery")),
  });
  await send(newer, PlaceOrder({ orderId: "sold out", cents: 3 }));
  await send(newer, Pay({ orderId: "sold out", cents: 3 }));
  const run = async (of: typeof newer, ...groups: string[]) => {
    for (const name of groups) {
      const subscription = new EventStoreSubscription({ domain: of, handler: of.handlers.get(name)!, store });
      await subscription.runUntil(await store.lastPosition(), new AbortController().signal);
    }
  };
  await run(newer, "OrderDesk", "Till", "DeliveryRouter", "Delivery");
  // The older server refuses what the newer one's process has sent.
  await run(older, "Warehouse");
  await settle(newer);
  assert.deepEqual(await types("PaidBack"), ["PaidBack sold out"]);
  await store.close();
});

Deno.test("what waits for a start is read when that comes, and not for each that waits as well", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const { shop: domain } = shop();
  const read: number[] = [];
  const readAt = store.readAt.bind(store);
  store.readAt = (positions, options) => (read.push(...positions), readAt(positions, options));
  for (let i = 0; i < 5; i++) {
    await send(domain, Pay({ orderId: "a", cents: 1 }));
    await settle(domain);
  }
  const paid = (await store.readLog({ type: "Paid" })).map(({ position }) => position);
  assert.deepEqual(read.filter((position) => paid.includes(position)), paid);
  await send(domain, PlaceOrder({ orderId: "a", cents: 5 }));
  await settle(domain);
  assert.equal((await types("Shipped")).length, 5);
  await store.close();
});

Deno.test("inputs that refer to large events are handled one by one", async () => {
  const store = new MemoryEventStore();
  const { send, settle, types } = running(store);
  const { shop: domain } = shop();
  const ids = ["a", "b", "c"];
  const text = "x".repeat(5_000_000);
  for (const orderId of ids) await send(domain, PlaceOrder({ orderId, cents: 1 }));
  for (const orderId of ids) await send(domain, Pay({ orderId, cents: 1, text } as never));
  const read: number[] = [];
  const readAt = store.readAt.bind(store);
  store.readAt = (positions, options) => (read.push(positions.length), readAt(positions, options));
  await settle(domain);
  assert.deepEqual((await types("Shipped")).sort(), ids.map((id) => `Shipped ${id}`));
  assert.deepEqual(await store.deadLetters(), []);
  // Together first, and then each alone.
  assert.ok(read.filter((count) => count === 1).length >= 3, `${read}`);
  await store.close();
});
