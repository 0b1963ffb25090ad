import type { EngineEvent, Overview } from "@annals/annals/engine";
import assert from "node:assert/strict";
import { Metrics, type MetricsSources } from "../../../src/telemetry/metrics.ts";

const OVERVIEW: Overview = {
  groups: [{
    group: "G",
    kind: "stream",
    checkpoint: 5,
    lagMessages: 3,
    lagSeconds: 10,
    pending: 2,
    retrying: 1,
    awaiting: {},
    dead: 4,
    running: 1,
    workers: 2,
    held: [],
    resting: [],
  }],
  outbox: { waiting: 6, oldestSeconds: 5, published: 2, relay: null },
  members: 2,
  last: 8,
};

const BATCH: EngineEvent = {
  type: "batch.handled",
  group: "G",
  category: "c",
  partition: 0,
  handled: 10,
  refused: 3,
  failed: 2,
  dead: 1,
  handlingMs: 20,
  commitMs: 4,
  milliseconds: 24,
};
const OF_MESSAGE = { group: "G", category: "c", stream: "c-1", position: 7, messageType: "T", error: "no" };

/** Metrics of made-up sources; `elapsed` moves when told. */
function measured(overview: () => Promise<Overview> = () => Promise.resolve(OVERVIEW)) {
  const time = { elapsed: 0 };
  const sources: MetricsSources = {
    overview,
    health: () => [{ group: "G", state: "running" }, { group: "G", state: "standby" }],
    build: () => ({ store: "memory", broker: "memory" }),
    heapLimit: 1_000,
    clock: { elapsed: () => time.elapsed },
    patience: 20,
  };
  return { time, metrics: new Metrics(sources) };
}

/** The values by name and labels. */
function parse(text: string): Record<string, number> {
  return Object.fromEntries(
    text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

Deno.test("metrics count events from the first on, also those that came while the library was being loaded", async () => {
  const { metrics, time } = measured();
  metrics.report(BATCH);
  metrics.report({ type: "message.failed", ...OF_MESSAGE, attempt: 1, attempts: 3, retryInMs: 1 });
  metrics.report({ type: "message.dead", ...OF_MESSAGE, attempts: 3, deadLetter: null });
  const first = parse(await metrics.metricsText());
  const handled = (outcome: string) => `annals_messages_handled_total{group="G",outcome="${outcome}"}`;
  assert.deepEqual(["handled", "refused", "failed", "dead"].map((outcome) => first[handled(outcome)]), [7, 3, 1, 1]);
  assert.equal(first[`annals_handling_seconds_sum{group="G"}`], 0.02);
  assert.equal(first[`annals_commit_seconds_bucket{le="0.005",group="G"}`], 1);
  assert.equal(first[`annals_commit_seconds_bucket{le="0.0025",group="G"}`], 0);
  assert.equal(first[`annals_events_total{type="batch.handled"}`], 1);
  metrics.report(BATCH);
  metrics.report({ type: "worker.started", worker: "G", groups: ["G"], isRestart: false });
  metrics.report({ type: "worker.started", worker: "G", groups: ["G"], isRestart: true });
  metrics.report({ type: "worker.measured", worker: "G", heapBytes: 500 });
  metrics.report({ type: "lease.acquired", group: "H", lease: "H", afterStandby: false });
  metrics.report({ type: "lease.lost", group: "G", lease: "G" });
  metrics.report({ type: "relay.published", messages: 9, position: 9, milliseconds: 1 });
  assert.equal(parse(await metrics.metricsText())[handled("handled")], 7, "the same answer within a second");
  time.elapsed = 1_001;
  const then = parse(await metrics.metricsText());
  assert.equal(then[handled("handled")], 14);
  assert.equal(then[`annals_worker_restarts_total{group="G"}`], 1);
  assert.equal(then[`annals_worker_heap_bytes{worker="G"}`], 500);
  assert.equal(then[`annals_leases_lost_total{group="G"}`], 1);
  assert.equal(then[`annals_leases_lost_total{group="H"}`], 0);
  assert.equal(then["annals_relay_messages_total"], 9);
  assert.equal(then[`annals_partitions{group="G",state="running"}`], 1);
  assert.equal(then[`annals_partitions{group="G",state="standby"}`], 1);
  assert.equal(then[`annals_partitions{group="G",state="failed"}`], 0);
});

Deno.test("metrics say what the store knows", async () => {
  const values = parse(await measured().metrics.metricsText());
  const expected = {
    annals_store_up: 1,
    annals_log_position: 8,
    'annals_lag_messages{group="G"}': 3,
    'annals_lag_seconds{group="G"}': 10,
    'annals_deferred_messages{group="G",state="waiting"}': 2,
    'annals_deferred_messages{group="G",state="retrying"}': 1,
    'annals_dead_letters{group="G"}': 4,
    annals_outbox_waiting: 6,
    annals_outbox_oldest_seconds: 5,
    annals_members: 2,
    'annals_leases_held{group="G"}': 1,
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(values[name], value, name);
});

Deno.test("metrics without a store say so, and leave out what only that knows", async () => {
  let isAway = false;
  const { metrics, time } = measured(() => isAway ? Promise.reject(new Error("away")) : Promise.resolve(OVERVIEW));
  await metrics.metricsText();
  isAway = true;
  time.elapsed = 1_001;
  metrics.report(BATCH);
  const values = parse(await metrics.metricsText());
  assert.equal(values.annals_store_up, 0);
  assert.equal(values['annals_messages_handled_total{group="G",outcome="handled"}'], 7);
  const kept = Object.keys(values).filter((name) =>
    /lag_|dead_letters|outbox|members|log_position|deferred|leases_held/.test(name)
  );
  assert.deepEqual(kept, []);
});

Deno.test("a store that does not answer keeps no scrape, and is asked once", async () => {
  let asked = 0;
  let answer!: (overview: Overview) => void;
  const { metrics, time } = measured(() => {
    asked++;
    return new Promise((resolve) => answer = resolve);
  });
  const first = await Promise.all([metrics.metricsText(), metrics.metricsText()]);
  time.elapsed = 1_001;
  const second = await metrics.metricsText();
  assert.deepEqual([...first, second].map((text) => parse(text).annals_store_up), [0, 0, 0]);
  assert.equal(asked, 1);
  time.elapsed = 2_002;
  const third = metrics.metricsText();
  // Asked before; the answer comes late and is good for whoever waits now.
  await new Promise((resolve) => setTimeout(resolve));
  answer(OVERVIEW);
  assert.equal(parse(await third).annals_store_up, 1);
  assert.equal(asked, 1);
});

Deno.test("no label of a metric is an id of something that there are many of", async () => {
  const { metrics } = measured();
  metrics.report(BATCH);
  metrics.report({ type: "message.dead", ...OF_MESSAGE, attempts: 3, deadLetter: "0190-dead" });
  const text = await metrics.metricsText();
  const labels = new Set([...text.matchAll(/[{,](\w+)="/g)].map(([, label]) => label));
  const bounded = ["group", "outcome", "le", "type", "state", "version", "deno", "store", "broker"];
  assert.deepEqual([...labels].filter((label) => !bounded.includes(label)), []);
  for (const id of ["c-1", "0190-dead"]) assert.ok(!text.includes(id));
});
