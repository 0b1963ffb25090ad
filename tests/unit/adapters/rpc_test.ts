import assert from "node:assert/strict";
import { type Channel, remote, serve } from "../../../src/adapters/rpc.ts";
import { BrokerBehindError, BrokerUnavailableError, GroupMissingError } from "../../../src/broker/errors.ts";
import { recoveryOf } from "../../../src/lib/annals_error.ts";
import {
  DuplicateMessageError,
  FencedError,
  StatementError,
  StoreUnavailableError,
  WrongExpectedVersionError,
} from "../../../src/store/errors.ts";

/** Two ends of a line; what goes over it is JSON, as over a socket. */
function line(): [Channel, Channel] {
  const ends: Channel[] = [];
  const make = (other: () => Channel): Channel => ({
    onmessage: null,
    onclose: null,
    postMessage: (message) => {
      const text = JSON.stringify(message);
      queueMicrotask(() => other().onmessage?.({ data: JSON.parse(text) }));
    },
    close: () => {
      ends[0].onclose?.();
      ends[1].onclose?.();
    },
  });
  ends.push(make(() => ends[1]), make(() => ends[0]));
  return [ends[0], ends[1]];
}

function served<T extends object>(adapter: T): T {
  const [here, there] = line();
  serve(adapter, there, new Set(Object.keys(adapter)) as Set<keyof T & string>);
  return remote<T>(here, { kind: "test", location: "here" }, () => new Error("gone"));
}

Deno.test("rpc: calls are answered in whatever order they come to an end", async () => {
  const store = served({ wait: (ms: number) => new Promise((resolve) => setTimeout(() => resolve(ms), ms)) });
  const seen: unknown[] = [];
  await Promise.all([20, 1, 10].map(async (ms) => seen.push(await store.wait(ms))));
  assert.deepEqual(seen, [1, 10, 20]);
});

Deno.test("rpc: every error that means something keeps its class, its facts, and whether trying again helps", async () => {
  const errors = [
    new WrongExpectedVersionError("s", 1, 2),
    new FencedError("l", 3),
    new StoreUnavailableError("away", "unsure", true),
    new StoreUnavailableError("closed", "closed", false),
    new StatementError("select", "no"),
    new DuplicateMessageError("twice"),
    new GroupMissingError("s", "g"),
    new BrokerBehindError("s", 1, 0),
    new BrokerUnavailableError("away", false),
  ];
  const store = served({ fail: (i: number) => Promise.reject(errors[i]) });
  for (const [i, error] of errors.entries()) {
    const found = await store.fail(i).catch((thrown: unknown) => thrown);
    assert.equal((found as Error).constructor, error.constructor);
    assert.deepEqual({ ...found as object }, { ...error });
    assert.equal((found as Error).message, error.message);
    assert.equal(recoveryOf(found), recoveryOf(error));
  }
});

Deno.test("rpc: a signal that aborts here aborts there, and who is gone answers nobody", async () => {
  const adapter = {
    until: ({ signal }: { signal: AbortSignal }) =>
      new Promise((resolve) => signal.addEventListener("abort", () => resolve("aborted"))),
    never: () => new Promise(() => {}),
  };
  const [here, there] = line();
  serve(adapter, there, new Set(["until", "never"] as const));
  const store = remote<typeof adapter>(here, { kind: "test", location: "here" }, () => new Error("gone"));
  const stop = new AbortController();
  const waiting = store.until({ signal: stop.signal });
  stop.abort();
  assert.equal(await waiting, "aborted");
  const never = store.never();
  here.close();
  await assert.rejects(never, /gone/);
  await assert.rejects(store.never(), /gone/);
});

Deno.test("rpc: a peer calls what it may, and is cut off when it sends anything else", async () => {
  let closed = 0;
  const adapter = { ask: () => Promise.resolve("answer"), close: () => Promise.resolve(void closed++) };
  for (
    const junk of [null, 5, "x", [], {}, { id: "1", method: "ask", given: [] }, { id: 1, method: 5 }, { abort: {} }]
  ) {
    const [here, there] = line();
    serve(adapter, there, new Set(["ask"] as const));
    let isCut = false;
    here.onclose = () => void (isCut = true);
    here.postMessage(junk);
    await new Promise((resolve) => setTimeout(resolve, 1));
    assert.ok(isCut, JSON.stringify(junk));
  }
  const [here, there] = line();
  serve(adapter, there, new Set(["ask"] as const));
  const store = remote<typeof adapter & Record<"constructor" | "toString" | "nothing", () => Promise<unknown>>>(
    here,
    { kind: "test", location: "here" },
  );
  await assert.rejects(async () => await store.nothing(), /There is no method "nothing"/);
  here.postMessage({ id: 1_000, method: "close", given: [] });
  here.postMessage({ id: 1_001, method: "constructor", given: [] });
  assert.equal(await store.ask(), "answer");
  assert.equal(closed, 0);
});
