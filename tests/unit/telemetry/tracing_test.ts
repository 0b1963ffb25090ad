import * as api from "@opentelemetry/api";
import { MemoryEventStore } from "@annals/annals/store/memory";
import type { EventStore } from "@annals/annals/store";
import assert from "node:assert/strict";
import type { GroupWorker, HandlerSession } from "../../../src/handling/runner.ts";
import { LocalRunner } from "../../../src/handling/runner.ts";
import { overriding } from "../../../src/lib/overriding.ts";
import type { MessageRecord } from "../../../src/messages/envelope.ts";
import { traceParentOf, withTraceParent } from "../../../src/messages/trace_parent.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { tracedBroker, tracedStore } from "../../../src/telemetry/traced_ports.ts";
import { type Step, tracedWorker } from "../../../src/telemetry/traced_worker.ts";
import { Tracing, tracingOf, type TracingSettings } from "../../../src/telemetry/tracing.ts";
import { tick, tickingDomain } from "../../support/ticking.ts";
import { MemoryBroker } from "@annals/annals/broker/memory";

/** A span that was made. */
interface Made {
  readonly name: string;
  readonly options: api.SpanOptions;
  readonly parent: api.SpanContext | undefined;
  readonly own: api.SpanContext;
  error: string | undefined;
  isEnded: boolean;
}

/** Tracing whose spans are kept. */
function recorded(settings: Partial<TracingSettings> = {}): { tracing: Tracing; spans: Made[] } {
  const spans: Made[] = [];
  const tracer = {
    startSpan: (name: string, options: api.SpanOptions, context: api.Context) => {
      const parent = api.trace.getSpanContext(context);
      const traceId = parent?.traceId ?? `${spans.length + 1}`.padStart(32, "0");
      const own = { traceId, spanId: `${spans.length + 1}`.padStart(16, "0"), traceFlags: 1 };
      const made: Made = { name, options, parent, own, error: undefined, isEnded: false };
      spans.push(made);
      return {
        spanContext: () => own,
        setStatus: ({ message }: { message: string }) => void (made.error = message),
        end: () => void (made.isEnded = true),
      };
    },
  };
  const own = { ...api, trace: overriding(api.trace, { getTracer: () => tracer as unknown as api.Tracer }) };
  return { tracing: new Tracing(own as typeof api, { parent: "never", sample: 1, ...settings }), spans };
}

const CAUSE = { traceId: "a".repeat(32), spanId: "b".repeat(16), isRecorded: true };
const caused = (metadata: string | null = null, cause = CAUSE) => ({ metadata: withTraceParent(metadata, cause) });

/** Ticks that follow from a span each, and a worker that handles them. */
async function ground(ids: readonly string[], act: (n: number) => unknown, over: object = caused()) {
  const store = new MemoryEventStore();
  await tick(store, ids, 1, over);
  const items = (await store.readLog()).map((record) => ({ record, attempt: 1 }));
  const domain = tickingDomain(act);
  const worker: GroupWorker = {
    load: () => Promise.resolve(),
    replace() {},
    open: () => {
      const runner = new LocalRunner(domain, domain.handlers.get("Reactor")!, {
        reading: { readStream: () => Promise.resolve([]), readRows: () => Promise.resolve([]) },
        timeout: 1_000,
        log: { debug() {}, info() {}, warn() {}, error() {} },
      });
      return overriding<HandlerSession>(runner as unknown as HandlerSession, { abandon() {}, close() {} });
    },
  };
  return { items, worker, signal: new AbortController().signal };
}

/** A worker whose handler answers each message by another. */
function answering(worker: GroupWorker): GroupWorker {
  const answer = ({ id, metadata }: MessageRecord) => sampleMessage({}, { causationId: id, metadata });
  return overriding(worker, {
    open: () => {
      const session = worker.open();
      return overriding(session, {
        run: async (items, signal) => {
          const result = await session.run(items, signal);
          if (result === "apart") return result;
          const appends = result.handled.map((i) => ({
            category: "c",
            stream: `c-${i}`,
            expected: "any" as const,
            publish: true,
            messages: [answer(items[i].record)],
          }));
          return { ...result, effects: { ...result.effects, appends } };
        },
      });
    },
  });
}

const IDS = ["a", "b", "c"];
const MANY = Array.from({ length: 200 }, (_, i) => `t${i}`);
const NO = () => {
  throw new Error("no");
};

Deno.test("without something that takes spans, there is no tracing", async () => {
  assert.equal(await tracingOf({ parent: "never", sample: 1 }), null);
});

Deno.test("each message has a span of its own that is linked to its cause, and one that failed says so", async () => {
  const { tracing, spans } = recorded();
  const { items, worker, signal } = await ground(IDS, (n) => n === 2 && NO());
  const session = tracedWorker(tracing, { group: "Reactor", step: "handle" }, worker).open();
  await session.run(items, signal);
  session.settle(true);
  assert.deepEqual(spans.map(({ name }) => name), Array(3).fill("handle Ticked"));
  assert.ok(spans.every(({ isEnded, parent }) => isEnded && parent === undefined));
  assert.deepEqual(spans.map(({ error }) => error), [undefined, "no", undefined]);
  for (const [i, { options: { links = [], attributes } }] of spans.entries()) {
    assert.deepEqual(links.map(({ context }) => [context.traceId, context.spanId]), [[CAUSE.traceId, CAUSE.spanId]]);
    const { type, stream, position, correlationId } = items[i].record;
    assert.deepEqual(attributes, {
      "annals.group": "Reactor",
      "annals.type": type,
      "annals.stream": stream,
      "annals.position": position,
      "annals.correlation_id": correlationId,
      "annals.attempt": 1,
    });
  }
});

Deno.test("what handlers append carries the span of what it follows from, and the commit has one", async () => {
  for (const written of [true, false]) {
    const { tracing, spans } = recorded();
    const { items, worker, signal } = await ground(IDS, () => {});
    const session = tracedWorker(tracing, { group: "Reactor", step: "decide" }, answering(worker)).open();
    const result = await session.run(items, signal);
    assert.ok(result !== "apart");
    const told = result.effects.appends.map(({ messages: [{ metadata }] }) => traceParentOf(metadata)?.spanId);
    assert.deepEqual(told, spans.slice(0, 3).map(({ own }) => own.spanId));
    const [append] = spans.slice(3);
    assert.deepEqual([append.name, append.isEnded], ["append", false]);
    assert.deepEqual(append.options.links?.map(({ context }) => context.spanId), told);
    session.settle(written);
    assert.deepEqual([append.isEnded, append.error === undefined], [true, written]);
  }
});

Deno.test("in a large batch, what nothing follows from shares a span; commands and failures do not", async () => {
  const names = async (step: Step, act: (n: number) => unknown) => {
    const { tracing, spans } = recorded();
    const causes = MANY.map((_, i) => ({ ...CAUSE, spanId: `${i + 1}`.padStart(16, "0") }));
    const { items, worker, signal } = await ground(MANY, act);
    const each = items.map((item, i) => ({ ...item, record: { ...item.record, ...caused(null, causes[i]) } }));
    await tracedWorker(tracing, { group: "Reactor", step }, worker).open().run(each, signal);
    return { spans, names: spans.map(({ name }) => name) };
  };
  const { spans, names: together } = await names("project", (n) => n === 5 && NO());
  assert.deepEqual(together, ["project Ticked", "project batch"]);
  assert.equal(spans[1].options.links?.length, 128);
  assert.equal(spans[1].options.attributes?.["annals.messages"], 199);
  assert.equal((await names("decide", () => {})).names.length, 200);
});

Deno.test('with parent = "first", the first attempt is a child of its cause, and later ones are linked to it', async () => {
  const { tracing, spans } = recorded({ parent: "first" });
  const { items: [item], worker, signal } = await ground(["a"], () => {});
  const session = tracedWorker(tracing, { group: "Reactor", step: "handle" }, worker).open();
  for (const attempt of [1, 2]) await session.run([{ ...item, attempt }], signal);
  assert.deepEqual(spans.map(({ parent }) => parent?.spanId), [CAUSE.spanId, undefined]);
  assert.deepEqual(spans.map(({ options: { links = [] } }) => links.length), [0, 1]);
});

Deno.test("what follows from something that is not recorded is not traced, and nothing is made for it", async () => {
  const { tracing, spans } = recorded();
  const { items, worker, signal } = await ground(IDS, () => {}, caused(null, { ...CAUSE, isRecorded: false }));
  const inner = answering(worker);
  let given: unknown;
  const spied = overriding(inner, {
    open: () => {
      const session = inner.open();
      return overriding(session, { run: async (...all) => (given = await session.run(...all)) as never });
    },
  });
  const result = await tracedWorker(tracing, { group: "Reactor", step: "handle" }, spied).open().run(items, signal);
  assert.equal(result, given);
  assert.deepEqual(spans, []);
});

Deno.test("a worker that ends has a failed span for each message it had in hand", async () => {
  const { tracing, spans } = recorded();
  const { items, worker, signal } = await ground(IDS, () => {});
  const ending = overriding(worker, {
    open: () => overriding(worker.open(), { run: () => Promise.reject(new Error("its worker ended")) }),
  });
  const session = tracedWorker(tracing, { group: "Reactor", step: "handle" }, ending).open();
  await assert.rejects(session.run(items, signal), /its worker ended/);
  assert.deepEqual(spans.map(({ error }) => error), Array(3).fill("its worker ended"));
});

Deno.test("all processes choose the same share of commands", () => {
  const [one, other] = [recorded({ sample: 0.1 }), recorded({ sample: 0.1 })];
  const ids = Array.from(
    { length: 5_000 },
    (_, i) => `0190f0a0-0000-7000-8000-${(i * 7_919).toString(16).padStart(12, "0")}`,
  );
  const chosen = ids.filter((correlationId) => one.tracing.traces({ correlationId, metadata: null }));
  assert.ok(chosen.length > 400 && chosen.length < 600, `${chosen.length}`);
  assert.deepEqual(chosen, ids.filter((correlationId) => other.tracing.traces({ correlationId, metadata: null })));
  // Whoever has decided before has decided.
  assert.ok(ids.every((correlationId) => one.tracing.traces({ correlationId, ...caused() })));
});

Deno.test("a store gives each message that is appended a span, which the message carries", async () => {
  const { tracing, spans } = recorded();
  const store: EventStore = tracedStore<EventStore>(tracing, new MemoryEventStore());
  const category = "test::thing:command";
  const message = sampleMessage({}, { type: "Do", metadata: '{"who":"me"}' });
  const append = { category, stream: `${category}-1`, expected: "any" as const, publish: true, messages: [message] };
  await store.commit({ appends: [append] });
  const due = {
    key: "k",
    due: { after: 1 },
    category,
    stream: append.stream,
    message: sampleMessage({}, { type: "Later" }),
  };
  await store.commit({ schedule: [due] });
  await assert.rejects(store.commit({ appends: [{ ...append, expected: "none" }] }));
  assert.deepEqual(spans.map(({ name, isEnded, error }) => [name, isEnded, error !== undefined]), [
    ["process Do", true, false],
    ["process Later", true, false],
    ["process Do", true, true],
  ]);
  const [stored] = await store.readLog();
  assert.equal(JSON.parse(stored.metadata!).who, "me");
  assert.equal(traceParentOf(stored.metadata)?.spanId, spans[0].own.spanId);
  const [scheduled] = await store.scheduled();
  assert.equal(traceParentOf(scheduled.message.metadata)?.spanId, spans[1].own.spanId);
  const before = spans.length;
  await store.commit({ checkpoint: { group: "G", category, partitions: 1, partition: 0, position: 1 } });
  assert.equal(spans.length, before);
});

Deno.test("a broker has a span for each batch that is published, linked to what its messages follow from", async () => {
  const { tracing, spans } = recorded();
  const broker = tracedBroker(tracing, new MemoryBroker());
  const { items } = await ground(IDS, () => {});
  await broker.publish(items.map(({ record }) => record));
  await broker.publish(items.map(({ record }) => ({ ...record, position: record.position + 10, metadata: null })));
  assert.deepEqual(spans.map(({ name, isEnded }) => [name, isEnded]), [["relay", true]]);
  // Of one span that several follow from, there is one link.
  assert.deepEqual(spans[0].options.links?.map(({ context }) => context.spanId), [CAUSE.spanId]);
});
