import { MemoryBroker } from "@annals/annals/broker/memory";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { BrokerUnavailableError } from "../../../src/broker/errors.ts";
import type { Broker } from "../../../src/broker/port.ts";
import { WorkerEndedError } from "../../../src/isolation/errors.ts";
import { type EventStore, MOST_REPLAYED, StoreUnavailableError } from "@annals/annals/store";
import assert from "node:assert/strict";
import { Supervisor } from "../../../src/engine/supervisor.ts";
import { DEFAULT_SETTINGS } from "../../../src/groups/settings.ts";
import { NO_EFFECTS } from "../../../src/handling/batch.ts";
import { type HandlerSession, LocalRunner } from "../../../src/handling/runner.ts";
import { knownBy } from "../../../src/domain/known.ts";
import type { Clock } from "../../../src/lib/clock.ts";
import type { EngineEvent, Report } from "../../../src/telemetry/events.ts";
import { seen, tick, tickingDomain } from "../../support/ticking.ts";
import { VirtualTime } from "../../support/virtual_clock.ts";

const MINUTE = 60_000;
const SETTINGS = { ...DEFAULT_SETTINGS, retryDelaySeconds: 60, maxRetries: 8 };
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

type World = { readonly store: EventStore; readonly broker: Broker };

/** How sessions are run; `null`: by the handlers themselves. */
type Sessions = ((runner: LocalRunner) => HandlerSession) | null;

/** A server that runs its handlers right here. */
function server(
  name: string,
  { store, broker }: World,
  clock: Clock,
  report: Report,
  act: (n: number) => void = () => {},
  sessions: Sessions = null,
) {
  const domain = tickingDomain(act);
  const known = knownBy(domain);
  return new Supervisor({
    store,
    broker,
    owner: `${name}:0:${name}`,
    types: Object.fromEntries(known),
    categories: ["test::clock"],
    outbox: true,
    clock,
    report,
    plans: [...domain.handlers.values()].flatMap((handler) =>
      [0, 1].map((partition) => ({
        group: {
          name: handler.name,
          categories: domain.categoriesOf(handler),
          handles: new Set(handler.kind.handles(handler).map(({ type }) => type)),
          types: known,
        },
        partition,
        partitions: 2,
        settings: SETTINGS,
        feed: handler.name === "Tally" ? "stream" as const : "event_store" as const,
        worker: {
          load: () => Promise.resolve(),
          replace: () => {},
          open: (): HandlerSession => {
            const runner = new LocalRunner(domain, handler, {
              reading: {
                readStream: (stream, from) => store.readStream(stream, { from }),
                readRows: (projection, keys) => store.readRows(projection, keys),
                now: clock.now,
                newId: clock.newId,
              },
              timeout: 30_000,
              log: SILENT,
            });
            return sessions?.(runner) ?? Object.assign(runner, { abandon: () => {}, close: () => {} });
          },
        },
      }))
    ),
  });
}

/** An hour of two servers: handlers that fail for minutes, a server that stands still for ever, one that takes its place. */
async function hour(
  seed: number,
): Promise<{ said: string[]; rows: Record<string, number[]>; dead: number; ms: number }> {
  const began = performance.now();
  const time = new VirtualTime(seed);
  const services = time.machine().clock;
  const world = { store: new MemoryEventStore({ clock: services }), broker: new MemoryBroker({ clock: services }) };
  const said: string[] = [];
  // Every seventh number fails until the tenth minute.
  const breaksUntil = services.now() + 10 * MINUTE;
  const act = (n: number): void => {
    if (n % 7 === 3 && services.now() < breaksUntil) throw new Error(`not ${n}`);
  };
  const [first, second, third] = ["a", "b", "c"].map((name) => {
    const machine = time.machine();
    const report = (event: EngineEvent): void => void said.push(`${services.now()} ${name} ${JSON.stringify(event)}`);
    return { ...machine, supervisor: server(name, world, machine.clock, report, act) };
  });
  const start = async ({ supervisor }: typeof first): Promise<void> => {
    await supervisor.join();
    void supervisor.start();
  };
  await start(first);
  await start(second);
  let sent = 0;
  const send = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await tick(world.store, [`s${Math.floor(time.random() * 20)}`], sent++);
      await time.pass(time.random() * 12_000);
    }
  };
  await send(40);
  first.halt();
  await send(40);
  await start(third);
  await send(20);
  await time.pass(40 * MINUTE);
  const stopped = Promise.all([second, third].map(({ supervisor }) => supervisor.stop(30_000)));
  let isStopped = false;
  void stopped.then(() => isStopped = true);
  await time.pass(60_000, () => isStopped);
  assert.ok(isStopped);
  const rows = await seen(world.store);
  assert.deepEqual(
    Object.values(rows).flat().sort((a, b) => a - b),
    Array.from({ length: sent }, (_, i) => i),
    "a message was lost or doubled",
  );
  const log = await world.store.readLog({ limit: 1_000 });
  for (const [id, ns] of Object.entries(rows)) {
    const written = log.filter(({ stream }) => stream === `test::clock-${id}`).map(({ data }) => JSON.parse(data).n);
    assert.deepEqual(ns, written, `stream ${id} was projected in another order`);
  }
  return { said, rows, dead: (await world.store.deadLetters()).length, ms: performance.now() - began };
}

Deno.test("supervisors run an hour in virtual time, with retries of minutes and a server that stands still: nothing is lost", async () => {
  const { said, dead } = await hour(1);
  assert.equal(dead, 0);
  const of = (type: string) => said.filter((line) => line.includes(`"${type}"`));
  assert.ok(of("message.failed").length > 20);
  assert.ok(of("lease.acquired").some((line) => line.includes(" b ") && line.includes('"afterStandby":true')));
  assert.ok(of("relay.published").some((line) => line.includes(" b ") || line.includes(" c ")));
});

Deno.test("what supervisors do comes out the same again with the same seed: no clock, timer, chance or id is their own", async () => {
  const [one, same, other] = [await hour(2), await hour(2), await hour(3)];
  assert.deepEqual(one.said, same.said);
  assert.deepEqual(one.rows, same.rows);
  assert.notDeepEqual(one.said, other.said);
});

/** A server in a world of its own. */
function alone(over: (world: World) => Partial<World> = () => ({}), sessions: Sessions = null) {
  const time = new VirtualTime(1);
  const { clock } = time.machine();
  const inner = { store: new MemoryEventStore({ clock }), broker: new MemoryBroker({ clock }) };
  const events: EngineEvent[] = [];
  const world: World = { ...inner, ...over(inner) };
  const supervisor = server("a", world, clock, (event) => void events.push(event), undefined, sessions);
  const count = (type: EngineEvent["type"]) => events.filter((event) => event.type === type).length;
  return { ...inner, time, supervisor, count };
}

/** The same with one method replaced. */
function replaced<T extends object>(whole: T, name: keyof T, method: (...given: any[]) => unknown): T {
  return new Proxy(whole, {
    get: (target, key) => {
      if (key === name) return method;
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

Deno.test("a group whose worker ends while the store is away goes on when it is back", async () => {
  let [ends, refusals] = [0, 0];
  const { time, store, supervisor } = alone(
    ({ store }) => ({
      store: replaced(store, "recordEnds", (...given: Parameters<EventStore["recordEnds"]>) => {
        if (refusals++ < 1) return Promise.reject(new StoreUnavailableError("away", "unreachable", true));
        return store.recordEnds(...given);
      }),
    }),
    (runner) => ({
      run: (...given) => ends++ < 1 ? Promise.reject(new WorkerEndedError("it ended", true)) : runner.run(...given),
      settle: (written) => runner.settle(written),
      forget: () => runner.forget(),
      abandon: () => {},
      close: () => {},
    }),
  );
  await supervisor.join();
  void supervisor.start();
  await tick(store, ["a", "b", "c"]);
  await time.pass(5 * MINUTE);
  assert.ok(refusals > 0);
  assert.deepEqual(await seen(store), { a: [0], b: [1], c: [2] });
});

Deno.test("a broker that answers, and refuses what is written, is left alone for a while each time", async () => {
  let published = 0;
  const { time, store, supervisor, count } = alone(({ broker }) => ({
    broker: replaced(broker, "publish", () => {
      published++;
      return Promise.reject(new BrokerUnavailableError("NOPERM", false));
    }),
  }));
  await supervisor.join();
  void supervisor.start();
  await tick(store, ["a"]);
  await time.pass(MINUTE);
  assert.ok(published > 1 && published < 300, String(published));
  assert.ok(count("service.away") > 0);
});

Deno.test("what a zombie takes last is handled, although no message follows that would tell", async () => {
  let isOnce = true;
  const { time, store, supervisor } = alone(({ broker }) => ({
    broker: replaced(broker, "publish", (...given: Parameters<Broker["publish"]>) => {
      const publishing = broker.publish(...given);
      for (const partition of [0, 1]) {
        const group = `Tally/${partition}of2`;
        if (isOnce) void broker.read({ stream: "test::clock", group, consumer: "zombie", count: 1, block: 0 });
      }
      isOnce = false;
      return publishing;
    }),
  }));
  await supervisor.join();
  void supervisor.start();
  await time.pass(MINUTE);
  await tick(store, ["a"]);
  await time.pass(MINUTE);
  assert.deepEqual(await seen(store), { a: [0] });
});

Deno.test("an attempt that another group's fault ended is not counted", async () => {
  let [tries, innocent] = [0, 0];
  const { time, store, supervisor } = alone(undefined, (runner) => ({
    run: async (items, signal) => {
      if (items[0].record.stream !== "test::clock-a") return await runner.run(items, signal);
      const first = tries++ === 0;
      if (!first && innocent++ < 20) throw new WorkerEndedError("a neighbour blocked its thread", false);
      const failure = { error: "no", stack: null };
      return first
        ? { effects: NO_EFFECTS, handled: [], failures: new Map([[0, failure]]), stuck: false }
        : await runner.run(items, signal);
    },
    settle: (written) => runner.settle(written),
    forget: () => runner.forget(),
    abandon: () => {},
    close: () => {},
  }));
  await supervisor.join();
  void supervisor.start();
  await tick(store, ["a"]);
  await time.pass(60 * MINUTE);
  assert.ok(innocent > 10);
  assert.deepEqual(await store.deadLetters(), []);
  assert.deepEqual(await seen(store), { a: [0] });
});

Deno.test("replays of one group are picked up, however many of other groups cannot be", async () => {
  const { time, store, supervisor } = alone();
  await supervisor.join();
  void supervisor.start();
  await tick(store, ["a"]);
  await time.pass(MINUTE);
  assert.deepEqual(await seen(store), { a: [0] });
  const row = { category: "test::clock", attempts: 0, dueAt: 0, failures: [], replayed: true, awaits: null };
  const others = Array.from({ length: MOST_REPLAYED }, (_, i) => ({
    ...row,
    group: `Other${i}`,
    stream: "test::clock-b",
    position: 0,
  }));
  const [{ position, stream }] = await store.readLog({ category: "test::clock", after: 0, limit: 1 });
  await store.commit({ defer: [...others, { ...row, group: "Tally", stream, position }] });
  await time.pass(MINUTE);
  assert.deepEqual((await store.deferred("Tally")).length, 0);
  assert.deepEqual(await seen(store), { a: [0, 0] });
});
