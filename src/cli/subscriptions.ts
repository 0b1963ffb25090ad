import type { Command } from "commander";
import { kindOf } from "../engine/announce.ts";
import { leaseName, partitionOfLease } from "../groups/partition.ts";
import { lagOf } from "../groups/progress.ts";
import type { HandlerDescription } from "../isolation/protocol.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { COLORS, print, span, table } from "./output.ts";
import { paint } from "../telemetry/colors.ts";
import { escapeControl } from "../telemetry/escape.ts";

/** How one group is doing. */
export interface GroupStatus {
  /** The consumer group. */
  readonly group: string;
  /** By which subscription it is fed. */
  readonly kind: "stream" | "event_store";
  /** Everything up to here is done, or set aside. */
  readonly checkpoint: number;
  /** How many messages are behind that. */
  readonly lagMessages: number;
  /** How old the first of them is, in seconds. */
  readonly lagSeconds: number;
  /** Messages that wait behind one that failed. */
  readonly pending: number;
  /** Messages that failed and will be tried again. */
  readonly retrying: number;
  /** Messages that were given up. */
  readonly dead: number;
  /** How many of its partitions somebody works on. */
  readonly running: number;
  /** Versions of types that no running code knows, like `Deposited@2`, and how many messages wait for each. */
  readonly awaiting: Readonly<Record<string, number>>;
  /** How many workers it should have. */
  readonly workers: number;
  /** Which process works on which partition. */
  readonly held: readonly { readonly partition: number; readonly process: string }[];
  /** Which partitions rest because their worker ended again and again: until when, and why it ended. */
  readonly resting: readonly { readonly partition: number; readonly until: string; readonly reason: string }[];
}

/** A process without what is only there to tell it from others that were: of `host/boot/namespace:pid.start:id`. */
function processName(owner: string): string {
  const [machine, pid] = owner.split(":");
  return `${machine.split("/")[0]}:${pid.split(".")[0]}`;
}

/** Finds out how a group is doing. */
export async function statusOf({ store, config }: Operator, handler: HandlerDescription): Promise<GroupStatus> {
  const { name: group, categories } = handler;
  const leases = (await store.leases()).filter((lease) => lease.group === group && lease.expiresAt > Date.now());
  // The servers that run now may have been told otherwise.
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
    dead: dead[group] ?? 0,
    awaiting: Object.fromEntries(
      [...Map.groupBy(deferred.filter(({ awaits }) => awaits !== null), ({ awaits }) => awaits!)].map((
        [name, messages],
      ) => [name, messages.length]),
    ),
    running: leases.length,
    workers,
    resting: leases.filter(({ ends }) => ends !== null && ends.restingUntil > Date.now()).map(({ name, ends }) => ({
      partition: partitionOfLease(name),
      until: new Date(ends!.restingUntil).toISOString(),
      reason: ends!.reason,
    })),
    held: leases.map(({ name, owner }) => ({ partition: partitionOfLease(name), process: processName(owner) })),
  };
}

/** One line per partition that rests. */
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
      `\n${group}: ${count} messages wait for code that knows ${
        name.replace("@", " version ")
      }; start a server with code that declares it`
    )
  ).join("");
}

/** One line per process: what it works on. */
function processes(members: readonly string[], groups: readonly GroupStatus[]): string {
  if (members.length === 0) return "No server runs.\n\n";
  const lines = members.map((member) => {
    const held = groups.flatMap(({ group, workers, held }) =>
      held.filter(({ process }) => process === member).map(({ partition }) => leaseName(group, partition, workers))
    );
    return `process ${member}: ${held.length === 0 ? "stands by" : held.join(", ")}\n`;
  });
  return `${lines.join("")}\n`;
}

/** `annals subscriptions …` */
export function addSubscriptions(program: Command): void {
  const group = program.command("subscriptions").description("what the consumer groups are doing");
  group.command("status").description("one line per group")
    .option("--json", "print one JSON document")
    .action((options) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const found: GroupStatus[] = [];
        for (const handler of operator.domain.handlers) found.push(await statusOf(operator, handler));
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
