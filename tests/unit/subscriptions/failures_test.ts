import { aggregate, domain, event, eventHandler, newId, type } from "@annals/annals";
import { FencedError, StoreUnavailableError } from "@annals/annals/store";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { EventStoreSubscription } from "@annals/annals/subscriptions";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import assert from "node:assert/strict";

const In = event("In", { schema: type<{ by: number }>() });
const Account = aggregate("Account", { events: [In], initial: () => 0, evolve: { In: (n) => n + 1 } });

const hostile = (properties: string[]) => {
  const error = new Error("x");
  for (const name of properties) {
    Object.defineProperty(error, name, {
      get() {
        throw new Error(`getter of ${name}`);
      },
    });
  }
  return error;
};
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable(new Error("x"), {});
  revoke();
  return proxy;
};

function ownCause(): Error {
  const error = new Error("own");
  error.cause = { name: "Error", message: "own", cause: error };
  return error;
}

/** Whatever is thrown is the failure of its message (whose an error is, is told by where it was thrown), and its text can be stored by every store and shown in a terminal's width. */
const THROWN: Record<string, [thrown: unknown, text: RegExp]> = {
  "a NUL": [new Error("bad \u0000 text"), /^bad \u2400 text$/],
  "half a surrogate pair": [new Error("cut 😀".slice(0, 5)), /^cut \ufffd$/],
  "50 MB": [new Error("h".repeat(50_000_000)), /^h{10000}… \(49990000 more characters\)$/],
  "null": [null, /^null$/],
  "undefined": [undefined, /^undefined$/],
  "an error with causes": [
    new Error("outer", { cause: new TypeError("inner", { cause: new Error("innermost") }) }),
    /^outer; caused by TypeError: inner; caused by innermost$/,
  ],
  "an error that names its cause": [new Error("outer: inner", { cause: new Error("inner") }), /^outer: inner$/],
  "an error that is its own cause": [ownCause(), /^own(; caused by own)*$/],
  "a symbol": [Symbol("s"), /^Symbol\(s\)$/],
  "an object without prototype": [Object.create(null), /^\{\}$/],
  "a message that is an object": [Object.assign(new Error(), { message: { a: 1 } }), /^\{"a":1\}$/],
  "a message that is a symbol": [Object.assign(new Error(), { message: Symbol("q") }), /^Symbol\(q\)$/],
  "getters that throw": [hostile(["message", "name", "stack"]), /./],
  "a revoked proxy": [revoked(), /^something that cannot be shown was thrown$/],
  "toString that throws": [{
    toString() {
      throw new Error();
    },
    toJSON() {
      throw new Error();
    },
  }, /^something that cannot be shown was thrown$/],
};

// Whose an error is: everything a handler throws is its own, whatever class or name it has.
THROWN["a StoreUnavailableError of another domain"] = [
  new StoreUnavailableError("Cannot reach the OTHER database", "unreachable", true),
  /OTHER database/,
];
THROWN["a FencedError"] = [new FencedError("x", 1), /^FencedError/];
THROWN["an error called BrokerUnavailableError"] = [
  Object.assign(new Error("fake"), { name: "BrokerUnavailableError", retryable: true }),
  /^BrokerUnavailableError: fake$/,
];

for (const [name, [thrown, text]] of Object.entries(THROWN)) {
  Deno.test(`a handler that throws ${name} fails its message, and nothing else`, async () => {
    const store = new MemoryEventStore();
    let calls = 0;
    const dom = domain("bank", {
      aggregates: [Account],
      handlers: [eventHandler("Thrower", {
        events: [In],
        on: {
          In: ({ payload }) => {
            calls++;
            if (payload.by === 13) throw thrown;
          },
        },
      })],
    });
    const id = newId();
    await store.commit({
      appends: [13, 1, 2].map((by, i) => ({
        stream: `bank::account-${i}`,
        category: "bank::account",
        expected: "none",
        publish: true,
        messages: [{
          id: newId(),
          type: "In",
          schemaVersion: 1,
          time: 0,
          correlationId: id,
          causationId: null,
          data: JSON.stringify({ by }),
          metadata: null,
        }],
      })),
    });
    const settings = { maxRetries: 0 };
    await new EventStoreSubscription({ domain: dom, handler: dom.handlers.get("Thrower")!, store, settings })
      .runUntil(3, new AbortController().signal);
    const [letter] = await store.deadLetters();
    assert.match(letter.error, text);
    assert.equal(calls, 3);
    assert.ok((letter.stack?.length ?? 0) < 21_000);
    await store.close();
  });
}

Deno.test("a batch is cut by the size of its payloads, and nothing is left out", async () => {
  const store = new MemoryEventStore();
  const seen: number[] = [];
  let together = 0;
  let most = 0;
  const dom = domain("bank", {
    aggregates: [Account],
    handlers: [eventHandler("Reader", {
      events: [In],
      on: {
        In: ({ payload }) => {
          seen.push(payload.by);
          most = Math.max(most, ++together);
        },
      },
    })],
  });
  const text = "x".repeat(3_000_000);
  await store.commit({
    appends: [{
      stream: "bank::account-1",
      category: "bank::account",
      expected: "none",
      publish: true,
      messages: Array.from({ length: 7 }, (_, by) => {
        const id = newId();
        const data = JSON.stringify({ by, text });
        return {
          id,
          type: "In",
          schemaVersion: 1,
          time: 0,
          correlationId: id,
          causationId: null,
          data,
          metadata: null,
        };
      }),
    }],
  });
  const guard = <T>(work: () => T): T => {
    together = 0;
    return work();
  };
  await new EventStoreSubscription({ domain: dom, handler: dom.handlers.get("Reader")!, store, execution: { guard } })
    .runUntil(7, new AbortController().signal);
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6]);
  assert.equal(most, 2);
  await store.close();
});

Deno.test("20,000 messages that wait behind a failed one stop no other stream", async () => {
  const store = new MemoryEventStore();
  const put = (id: string, count: number, by: number) =>
    store.commit({
      appends: [{
        category: "bank::account",
        stream: `bank::account-${id}`,
        expected: "any",
        publish: true,
        messages: Array.from({ length: count }, () => sampleMessage({ by }, { type: "In" })),
      }],
    });
  await put("bad", 20_000, -1);
  await put("good", 50, 1);
  let good = 0;
  const handler = eventHandler("Mailer", {
    events: [In],
    on: {
      In: ({ payload: { by } }) => {
        if (by < 0) throw new Error("no");
        good++;
      },
    },
  });
  const bank = domain("bank", { aggregates: [Account], handlers: [handler] });
  const settings = { retryDelaySeconds: 60, messagesPerTick: 1_000, blockingTimeoutMs: 1 };
  await new EventStoreSubscription({ domain: bank, handler, store, settings })
    .runUntil(20_050, new AbortController().signal);
  assert.equal(good, 50);
  assert.equal((await store.deferred("Mailer")).length, 20_000);
  await store.close();
});
