import { DomainDefinitionError, UndecodableMessageError } from "@annals/annals";
import type { LiveEvent } from "@annals/annals/client";
import { connect, HttpError } from "@annals/annals/client/http";
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { HttpConnection } from "../../../src/client/http/connection.ts";
import { followHttpEvents } from "../../../src/client/http/events.ts";
import bank from "../../../examples/bank/bank.ts";
import { HttpStub, type Told } from "../../support/http_stub.ts";

/** The nth event of the log, as the server tells it. */
function event(n: number, over: object = {}): string {
  const data = {
    type: "Deposited",
    payload: { accountId: "a1", amount: n },
    id: `id-${n}`,
    schemaVersion: 1,
    stream: "bank::account-a1",
    category: "bank::account",
    version: n - 1,
    position: n,
    time: "2026-01-02T03:04:05.678Z",
    correlationId: "c",
    causationId: null,
    metadata: {},
    ...over,
  };
  return `id: t${n}\nevent: Deposited\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Opens a stream, and tells what is in it. */
function stream(tell: (response: ServerResponse) => unknown): Told {
  return (response) => {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    response.flushHeaders();
    tell(response);
  };
}

/** Where a request begins. */
function afterOf(path: string): string | null {
  return new URL(path, "http://localhost").searchParams.get("after");
}

async function take(events: AsyncGenerator<LiveEvent, void, undefined>, most: number): Promise<LiveEvent[]> {
  const taken: LiveEvent[] = [];
  for await (const one of events) if (taken.push(one) === most) break;
  return taken;
}

Deno.test("events() yields what the server tells, as a client of the store does", async () => {
  await using server = await HttpStub.start(() =>
    stream(async (response) => {
      const bytes = new TextEncoder().encode(`: alive\n\n${event(1, { metadata: { who: "é€😀" } })}${event(2)}`);
      // Characters and lines come in pieces.
      for (let i = 0; i < bytes.length; i += 7) {
        response.write(bytes.subarray(i, i + 7));
        if (i % 70 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    })
  );
  const client = connect(bank, { url: server.url, token: "t" });
  const [first, second] = await take(client.events({ after: "start", types: ["Deposited", "Withdrawn"] }), 2);
  assert.deepEqual([first.token, second.token], ["t1", "t2"]);
  assert.deepEqual(first.event, {
    type: "Deposited",
    payload: { accountId: "a1", amount: 1 },
    id: "id-1",
    schemaVersion: 1,
    stream: "bank::account-a1",
    category: "bank::account",
    aggregateId: "a1",
    version: 0,
    position: 1,
    time: new Date("2026-01-02T03:04:05.678Z"),
    correlationId: "c",
    causationId: null,
    metadata: { who: "é€😀" },
  });
  assert.equal(server.asked[0].path, "/events?after=start&types=Deposited%2CWithdrawn");
});

Deno.test("events() goes on behind the last event when the connection is lost, and yields each once", async () => {
  await using server = await HttpStub.start(({ path }) => {
    const from = Number(/^t(\d)$/.exec(afterOf(path)!)?.[1] ?? 0);
    return stream((response) => {
      // Two events, and the half of a third.
      response.write(event(from + 1) + event(from + 2) + event(from + 3).slice(0, 40));
      setTimeout(() => response.socket?.destroy(), 10);
    });
  });
  const events = await take(connect(bank, { url: server.url, token: "t" }).events({ after: "start" }), 6);
  assert.deepEqual(events.map(({ event }) => event.position), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(server.asked.map(({ path }) => afterOf(path)), ["start", "t2", "t4"]);
});

Deno.test("events() takes a server for gone that is silent, and remembers a place that it was told before any event", async () => {
  await using server = await HttpStub.start((_, n) =>
    stream((response) => response.write(n === 0 ? "id: t4\n\n" : event(5)))
  );
  const connection = new HttpConnection({ url: server.url, token: "t" });
  const [{ event: { position } }] = await take(followHttpEvents(connection, bank, {}, 50), 1);
  assert.deepEqual([position, server.asked.map(({ path }) => afterOf(path))], [5, ["now", "t4"]]);
});

Deno.test("events() that do not know where to go on say so, instead of leaving a gap", async () => {
  await using server = await HttpStub.start(() => stream((response) => response.end()));
  const client = connect(bank, { url: server.url, token: "t" });
  await assert.rejects(client.events().next(), (error) => error instanceof HttpError && /lost/.test(error.message));
  assert.equal(server.asked.length, 1);
});

Deno.test("events() ends at once when it is left or its signal aborts", async () => {
  await using server = await HttpStub.start(() => stream(() => {}));
  const client = connect(bank, { url: server.url, token: "t" });
  const abort = new AbortController();
  const events = client.events({ after: "start", signal: abort.signal });
  const waiting = events.next();
  setTimeout(() => abort.abort(), 20);
  assert.equal((await waiting).done, true);
  const left = client.events({ after: "start" });
  const next = left.next();
  setTimeout(() => void left.return(), 20);
  assert.equal((await next).done, true);
  // Also while nobody answers.
  const away = connect(bank, { url: "http://127.0.0.1:1", token: "t" }).events({ after: "start" });
  const never = away.next();
  setTimeout(() => void away.return(), 20);
  assert.equal((await never).done, true);
});

Deno.test("an event that this code cannot read is an error, and so is what is no event", async () => {
  const wrong: [text: string, error: new (...given: never[]) => Error][] = [
    [event(1, { type: "Renamed" }), UndecodableMessageError],
    [event(1, { payload: { accountId: "a1", amount: "5" } }), UndecodableMessageError],
    [event(1, { payload: null, unreadable: "damaged" }), UndecodableMessageError],
    [event(1, { stream: "other::account-a1" }), HttpError],
    [event(1, { position: -1 }), HttpError],
    [event(1, { time: "yesterday" }), HttpError],
    [event(1).replace("id: t1", "id: t 1"), HttpError],
    [event(1).replace("id: t1\n", ""), HttpError],
    ["id: t1\ndata: {\n\n", HttpError],
  ];
  for (const [text, expected] of wrong) {
    await using server = await HttpStub.start(() => stream((response) => response.write(text)));
    await assert.rejects(connect(bank, { url: server.url, token: "t" }).events({ after: "start" }).next(), expected);
  }
});

Deno.test("an event that does not end is given up", async () => {
  await using server = await HttpStub.start(() =>
    stream((response) => {
      response.on("error", () => {});
      const more = (): unknown =>
        response.write("data: " + "x".repeat(10_000)) ? setImmediate(more) : response.once("drain", more);
      more();
    })
  );
  const client = connect(bank, { url: server.url, token: "t", longestAnswer: 100_000 });
  await assert.rejects(client.events({ after: "start" }).next(), /more than 100000 characters/);
});

Deno.test("events() that a server refuses are an error", async () => {
  const refusals: [Told, new (...given: never[]) => Error][] = [
    [[400, { title: "no such event" }], DomainDefinitionError],
    [[401, { title: "who?" }], HttpError],
    [[503, { title: "too many follow" }], HttpError],
    [[200, { rows: [] }], HttpError],
  ];
  for (const [answer, expected] of refusals) {
    await using server = await HttpStub.start(() => answer);
    const client = connect(bank, { url: server.url, token: "t", patience: 0 });
    await assert.rejects(client.events({ after: "start" }).next(), expected);
  }
});
