import { logTo } from "../src/telemetry/log_lines.ts";
import type { Broker } from "@annals/annals/broker";
import { loadConfig } from "@annals/annals/config";
import type { EventStore } from "@annals/annals/store";
import { GroupRunner } from "../src/engine/group_runner.ts";
import { placeWorkers } from "../src/engine/placement.ts";
import { DEFAULT_SETTINGS } from "../src/groups/settings.ts";
import { Capability } from "../src/isolation/capability.ts";
import { codeOf, inspect, poolFor } from "../src/isolation/inspect.ts";
import { workerPermissions } from "../src/isolation/permissions.ts";
import { REAL_CLOCK } from "../src/lib/clock.ts";

/**
 * Runs one group in a host, as the engine does, until it has reached a position; by default, that is the number of messages.
 *
 * @returns Messages per second, from when it is running.
 */
export async function feed(
  module: string,
  group: string,
  store: EventStore,
  broker: Broker | null,
  upTo: number,
  messages = upTo,
): Promise<number> {
  const config = loadConfig({ text: "", env: () => undefined });
  const code = codeOf(module, config);
  const pool = poolFor(code, config, logTo((_group, _level, text) => console.error(text)));
  const domain = await inspect(pool, code, config);
  const { units, unitOf } = placeWorkers(domain, config, () => ({
    module,
    permissions: workerPermissions(code, {}),
    env: {},
  }));
  for (const unit of units) pool.add(unit);
  const handler = domain.handlers.find(({ name }) => name === group)!;
  const unit = unitOf(group, 0);
  let began = 0;
  const runner = new GroupRunner({
    store,
    broker,
    owner: "bench",
    group: { ...handler, handles: new Set(handler.handles), types: new Map(Object.entries(domain.types)) },
    partition: 0,
    partitions: 1,
    settings: DEFAULT_SETTINGS,
    outbox: true,
    worker: pool.workerOf(unit, {
      group,
      capability: new Capability(domain, handler, false),
      timeout: 30_000,
      sql: false,
      store,
      now: Date.now,
    }),
    replays: () => Promise.resolve([]),
    last: () => store.lastPosition(),
    turn: () => Promise.resolve(true),
    clock: REAL_CLOCK,
    report: logTo((_group, _level, text) => console.error(text)),
  });
  void runner.ready.then(() => began = performance.now());
  const running = runner.run();
  while ((await store.checkpoints(group))[0]?.position !== upTo) await store.changed(20);
  const rate = messages / ((performance.now() - began) / 1000);
  runner.stop();
  await running;
  await pool.stop();
  return rate;
}
