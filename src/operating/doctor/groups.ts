import { hasEnded } from "../../cluster/process_id.ts";
import { generationOf, RENAMED_GROUP } from "../../store/generations.ts";
import { type Lease, REPLAY } from "../../store/port.ts";
import { groupsOf, type GroupStatus, groupStatuses } from "../groups.ts";
import { processName } from "../operator.ts";
import { check, count, type Examined, type Finding } from "./finding.ts";

/** A group that is further behind, in seconds, does not keep up. */
const LATE = 60;

type Living = Examined<"domain" | "store">;

function startOf(name: string): string {
  return `deno run -A server.ts --domain=${name}`;
}

function examineStatus(status: GroupStatus, isServed: boolean): Finding[] {
  const { group, resting, awaiting, lagMessages, lagSeconds, running, workers, dead, retrying } = status;
  const where = `group ${group}`;
  const findings = resting.map(({ until, reason }): Finding => ({
    severity: "error",
    what: `Its worker ended again and again, so it rests until ${until}; at last: ${reason}`,
    where,
    todo: "mend the cause and restart the server; without that it is tried again when the rest is over",
  }));
  for (const [type, messages] of Object.entries(awaiting)) {
    findings.push(
      type === REPLAY
        ? {
          severity: "warning",
          what: `${count(messages, "instance")} set aside: what comes for them waits`,
          where,
          todo: `annals processes list --status "set aside"`,
        }
        : {
          severity: "warning",
          what: `${count(messages, "message")} waiting for code that knows ${type.replace("@", " version ")}`,
          where,
          todo: "start a server with code that declares it",
        },
    );
  }
  if (dead > 0) {
    const todo = `annals dlq list --group ${group}; then: annals dlq replay-all --group ${group}`;
    findings.push({ severity: "warning", what: count(dead, "dead letter"), where, todo });
  }
  if (retrying > 0) {
    const todo = "annals top (Enter on the group shows the errors), or the server's log";
    findings.push({
      severity: "note",
      what: `${count(retrying, "failed message")} to be tried again`,
      where,
      todo,
    });
  }
  if (!isServed) return findings;
  if (running < workers && resting.length === 0) {
    findings.push({
      severity: "warning",
      what: `Only ${running} of ${count(workers, "worker")} at work`,
      where,
      todo:
        "look again in ten seconds (a group that moves to another server has none for a moment); then see the server's log",
    });
  }
  if (lagSeconds > LATE) {
    findings.push({
      severity: "warning",
      what: `It is ${Math.round(lagSeconds)} s (${count(lagMessages, "message")}) behind`,
      where,
      todo: `annals top; give it more partitions: [server.workers] ${generationOf(group).projection} = ${workers * 2}`,
    });
  }
  return findings;
}

/** Whether servers run, and how the groups are. */
export const GROUPS = check("groups", ["domain", "store"], async (patient) => {
  const isServed = (await patient.store.members()).length > 0;
  const findings = (await groupStatuses(patient)).flatMap((status) => examineStatus(status, isServed));
  if (isServed || patient.config.eventProcessing === "sync") return findings;
  const { name, store } = { name: patient.domain.name, store: patient.store };
  const what = "No server runs: what is sent is stored, and handled by nobody";
  return [{ severity: "warning", what, where: `event_store: ${store.location}`, todo: startOf(name) }, ...findings];
});

function examineLease({ name, owner, expiresAt }: Lease, members: ReadonlySet<string>): Finding[] {
  const isGone = hasEnded(owner);
  if (!isGone && members.has(owner)) return [];
  return [{
    severity: "note",
    what: isGone
      ? `It is held by ${processName(owner)}, which has ended without giving it back`
      : `It is held by ${processName(owner)}, which is not among the servers (any more)`,
    where: `lease ${name}`,
    todo: `nothing: another server takes it at ${new Date(expiresAt).toISOString()} at the latest`,
  }];
}

/** Leases of processes that are gone. */
export const LEASES = check("leases", ["store"], async ({ store }) => {
  const members = new Set((await store.members()).map(({ owner }) => owner));
  const held = (await store.leases()).filter(({ isHeld, owner }) => isHeld && owner !== "");
  return held.flatMap((lease) => examineLease(lease, members));
});

/** The groups that only the store knows: no code has them (any more). */
async function strangers({ domain, store }: Living): Promise<Set<string>> {
  const code = new Set(domain.handlers.map(({ name }) => generationOf(name).projection));
  const groups = new Set((await groupsOf({ domain, store })).map(({ name }) => name));
  const renamed = new Set((await store.checkpoints(RENAMED_GROUP)).map(({ category }) => category));
  const known = [
    ...(await store.checkpoints()).map(({ group }) => group),
    ...Object.keys(await store.countDeadLetters()),
  ];
  const deferred = (await store.countDeferred()).map(({ group }) => group);
  return new Set(
    [...known, ...deferred].filter((group) =>
      !group.startsWith("$") && !groups.has(group) && !code.has(generationOf(group).projection) && !renamed.has(group)
    ),
  );
}

/** What is left of groups that no code has. */
export const STRANGERS = check("groups of the past", ["domain", "store"], async (patient) => {
  const dead = await patient.store.countDeadLetters();
  const deferred = Map.groupBy(await patient.store.countDeferred(), ({ group }) => group);
  return [...await strangers(patient)].sort().flatMap((group): Finding[] => {
    const where = `group ${group}`;
    const held = (deferred.get(group) ?? []).reduce((sum, one) => sum + one.count, 0);
    const letters = Object.hasOwn(dead, group) ? dead[group] : 0;
    if (held === 0 && letters === 0) {
      const todo = `if its handler has another name now, say formerly: "${group}" there; otherwise nothing`;
      return [{ severity: "note", what: "It has checkpoints, and no code has a handler of this name", where, todo }];
    }
    return [
      ...held === 0 ? [] : [{
        severity: "warning" as const,
        what: `${count(held, "deferred message")}, and no code has a handler of this name`,
        where,
        todo: `bring the handler back, or say formerly: "${group}" where it is called otherwise now`,
      }],
      ...letters === 0 ? [] : [{
        severity: "warning" as const,
        what: `${count(letters, "dead letter")}, and no code has a handler of this name`,
        where,
        todo: `annals dlq list --group ${group}; to delete them: annals dlq purge --group ${group}`,
      }],
    ];
  });
});
