import { REPLAY } from "../store/port.ts";
import type { Command } from "commander";
import { kindOf } from "../engine/announce.ts";
import { restLeft } from "../engine/restarts.ts";
import { versionOf } from "../store/generations.ts";
import { leaseName, partitionOfLease } from "../groups/partition.ts";
import { lagOf } from "../groups/progress.ts";
import type { HandlerDescription } from "../isolation/protocol.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { COLORS, print, span, table } from "./output.ts";
import { paint } from "../telemetry/colors.ts";
import { escapeControl } from "../telemetry/escape.ts";

/** The status of one group. */
export interface GroupStatus {
  /** The consumer group. */
  readonly group: string;
  /** The kind of subscription that feeds it. */
  readonly kind: "stream" | "event_store";
  /** Its checkpoint: everything up to here is handled or deferred. */
  readonly checkpoint: number;
  /** The number of messages after the checkpoint. */
  readonly lagMessages: number;
  /** The age of the first of them, in seconds. */
  readonly lagSeconds: number;
  /** The number of messages waiting behind a failed one. */
  readonly pending: number;
  /** The number of failed messages that will be retried. */
  readonly retrying: number;
  /** The number of dead letters. */
  readonly dead: number;
  /** The number of partitions being processed. */
  readonly running: number;
  /** Versions of types that no running code knows, like `Deposited@2`, and how many messages wait for each. */
  readonly awaiting: Readonly<Record<string, number>>;
  /** How many workers it should have. */
  readonly workers: number;
  /** Which process holds which partition. */
  readonly held: readonly { readonly partition: number; readonly process: string }[];
  /** Partitions paused because their worker kept ending: until when, and the last reason. */
  readonly resting: readonly { readonly partition: number; readonly until: string; readonly reason: string }[];
}

/** Shortens a process id `host/boot/namespace:pid.start:id` to its readable part. */
function processName(owner: string): string {
  const [machine, pid] = owner.split(":");
  return `${machine.split("/")[0]}:${pid.split(".")[0]}`;
}

/** Determines the status of a group. */
export async function statusOf(
  { store, config }: Operator,
  { name: group, categories }: Pick<HandlerDescription, "name" | "categories">,
): Promise<GroupStatus> {
  const leases = (await store.leases()).filter((lease) => lease.group === group && lease.isHeld);
  // Running servers may use another configuration.
  const workers = leases[0]?.partitions ?? config.workers(group, categories);
  const lag = await lagOf(store, group, categories);
  const deferred = await store.deferred(group);
  const dead = await store.countDeadLetters();
  return {
    group,
    kind: kindOf(config, group),
    checkpoint: lag.position,
    lagMessages: lag.messages,
    lagSeconds: lag.oldest === null ? 0 : Math.max(0, Date.now() - lag.oldest) / 1000,
    pending: deferred.filter((message) => message.attempts === 0).length,
    retrying: deferred.filter((message) => message.attempts > 0).length,
    dead: Object.hasOwn(dead, group) ? dead[group] : 0,
    awaiting: Object.fromEntries(
      [...Map.groupBy(deferred.filter(({ awaits }) => awaits !== null), ({ awaits }) => awaits!)].map((
        [name, messages],
      ) => [name, messages.length]),
    ),
    running: leases.length,
    workers,
    resting: leases.flatMap(({ name, ends }) => {
      const left = ends === null ? 0 : restLeft(ends, Date.now());
      if (left <= 0) return [];
      return [{
        partition: partitionOfLease(name),
        until: new Date(Date.now() + left).toISOString(),
        reason: ends!.reason,
      }];
    }),
    held: leases.map(({ name, owner }) => ({ partition: partitionOfLease(name), process: processName(owner) })),
  };
}

/** The groups that run the domain's handlers: those of projectors feed the generations of their projections. */
export async function groupsOf(
  { store, domain }: Pick<Operator, "store" | "domain">,
): Promise<Pick<HandlerDescription, "name" | "categories">[]> {
  const all = await store.generations();
  return domain.handlers.flatMap((handler) => {
    const its = domain.projections.filter(({ group }) => group === handler.name).flatMap(({ name, version }) =>
      all.filter(({ projection, generation, state }) =>
        projection === name && versionOf(generation) === version && state !== "dropped"
      )
    );
    if (its.length > 0) return its.map(({ group }) => ({ name: group, categories: handler.categories }));
    // The code of a version that this store has no rows of, and never will.
    const isPassed = domain.projections.some(({ group, name }) =>
      group === handler.name && all.some(({ projection }) => projection === name)
    );
    return isPassed ? [] : [handler];
  });
}

/** Formats one line per resting partition. */
function rests(groups: readonly GroupStatus[]): string {
  return groups.flatMap(({ group, workers, resting }) =>
    resting.map(({ partition, until, reason }) =>
      `\n${
        leaseName(group, partition, workers)
      } rests until ${until}: its worker ended again and again, at last with: ` +
      `${
        escapeControl(reason)
      }\nMend the cause and restart the server; without that it is tried again when the rest is over.`
    )
  ).join("");
}

/** One line per version of a type that nobody knows. */
function awaiting(groups: readonly GroupStatus[]): string {
  return groups.flatMap(({ group, awaiting }) =>
    Object.entries(awaiting).map(([name, count]) =>
      name === REPLAY
        ? `\n${group}: ${count} instances are set aside; see: annals processes list --status "set aside"`
        : `\n${group}: ${count} messages wait for code that knows ${
          name.replace("@", " version ")
        }; start a server with code that declares it`
    )
  ).join("");
}

/** One line per process: what it works on. */
function processes(members: readonly string[], groups: readonly GroupStatus[]): string {
  if (members.length === 0) return "No server is running.\n\n";
  const lines = members.map((member) => {
    const held = groups.flatMap(({ group, workers, held }) =>
      held.filter(({ process }) => process === member).map(({ partition }) => leaseName(group, partition, workers))
    );
    return `process ${member}: ${held.length === 0 ? "standing by" : held.join(", ")}\n`;
  });
  return `${lines.join("")}\n`;
}

/** `annals subscriptions …` */
export function addSubscriptions(program: Command): void {
  const group = program.command("subscriptions").description("inspect the consumer groups");
  group.command("status").description("show checkpoint, lag and workers of each group")
    .option("--json", "print one JSON document")
    .action((options) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const found: GroupStatus[] = [];
        for (const one of await groupsOf(operator)) found.push(await statusOf(operator, one));
        const members = (await operator.store.members()).map(({ owner }) => processName(owner));
        print(options.json, found, () =>
          processes(members, found) + table(
            ["group", "kind", "checkpoint", "lag", "behind", "pending", "retrying", "dead", "workers"],
            found.map((status) => [
              status.group,
              status.kind,
              status.checkpoint,
              status.lagMessages,
              status.lagMessages === 0 ? "-" : span(status.lagSeconds * 1000),
              status.pending,
              status.retrying,
              status.dead,
              status.running < status.workers
                ? paint(`${status.running}/${status.workers}`, "red", COLORS)
                : `${status.running}/${status.workers}`,
            ]),
          ) + awaiting(found) + rests(found));
      })
    );
}
