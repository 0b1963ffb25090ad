import { SingleBar } from "cli-progress";
import { Capability } from "../isolation/capability.ts";
import type { HostPool } from "../isolation/host_pool.ts";
import { codeOf, environmentOf, explainLoad, MAIN_HOST, poolFor } from "../isolation/inspect.ts";
import { workerPermissions } from "../isolation/permissions.ts";
import type { HandlerSession } from "../handling/runner.ts";
import { Rehearsal, type RehearsalSummary, type Rehearsed } from "../processes/rehearsal.ts";
import { NO_REPORT } from "../telemetry/events.ts";
import type { Operator } from "./operator.ts";
import { UsageError } from "./run.ts";

/** Opens the handler of a group in a host, as a server does; it reads from the rehearsal. */
async function open(
  pool: HostPool,
  { config, module, domain }: Operator,
  group: string,
  rehearsal: Rehearsal,
): Promise<HandlerSession> {
  const handler = domain.handlers.find(({ name }) => name === group)!;
  const permissions = workerPermissions(codeOf(module, config), config.grants(group));
  const spec = { module, permissions, env: environmentOf(config, group) };
  pool.add({ name: group, home: MAIN_HOST, groups: [group], spec });
  const worker = pool.workerOf(group, {
    group,
    capability: new Capability(domain, handler, false, config.store.maxMessageBytes),
    timeout: config.groupConfig(group).settings.handlerTimeoutSeconds! * 1_000,
    sql: false,
    longest: config.store.maxMessageBytes,
    store: rehearsal.store,
    now: Date.now,
  });
  await worker.load().catch((error) => {
    throw new UsageError(explainLoad(module, error));
  });
  return worker.open();
}

/**
 * Plays history to a process manager: says what it would have sent, and sends nothing.
 *
 * @param operator The domain.
 * @param manager The process manager.
 * @param since The time of the first event, in milliseconds since 1970.
 * @param told Called with each command.
 */
export async function rehearse(
  operator: Operator,
  manager: string,
  since: number,
  told: (command: Rehearsed) => void,
): Promise<RehearsalSummary> {
  const { store, domain, config, module } = operator;
  const inbox = domain.handlers.find(({ name }) => name === manager)!.categories[0];
  const router = domain.handlers.find(({ appends, name }) =>
    name !== manager && appends.some(({ category, isVersioned }) => category === inbox && !isVersioned)
  )!;
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const pool = poolFor(codeOf(module, config), config, NO_REPORT);
  const rehearsal = new Rehearsal(store, `${folder}/rehearsal.db`, domain.name, manager);
  const bar = new SingleBar({ format: "{bar} {percentage}% | {eta} s left", clearOnComplete: true });
  const isShown = Deno.stderr.isTerminal();
  const upTo = await store.lastPosition();
  try {
    pool.prepare(MAIN_HOST);
    const groups = {
      router: await open(pool, operator, router.name, rehearsal),
      manager: await open(pool, operator, manager, rehearsal),
    };
    if (isShown) bar.start(upTo, 0);
    const events = { categories: router.categories, types: new Set(router.handles), since, upTo };
    return await rehearsal.run(groups, events, told, (position) => isShown && bar.update(position));
  } finally {
    if (isShown) bar.stop();
    await pool.stop();
    await rehearsal.close();
    await Deno.remove(folder, { recursive: true });
  }
}
