import assert from "node:assert/strict";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { EventStoreSubscription } from "@annals/annals/subscriptions";
import { Pay, PayBack, PlaceOrder, Ship, shop } from "./order_domain.ts";
import { running } from "./running.ts";

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
  const warehouse = domain.handlers.get("Warehouse") as unknown as { handle: Record<string, unknown> };
  const { Ship: ship } = warehouse.handle;
  warehouse.handle.Ship = () => {
    throw new Error("the warehouse is on fire");
  };
  await send(domain, PlaceOrder({ orderId: "a", cents: 3 }));
  await send(domain, Pay({ orderId: "a", cents: 3 }));
  await settle(domain);
  warehouse.handle.Ship = ship;
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
    'Instance "sold out" of "Delivery" cannot be undone: "PayBack" was refused: Money: cannot pay back more than was paid',
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
