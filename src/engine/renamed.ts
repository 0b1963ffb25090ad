import {
  KEPT_GROUP,
  keptBy,
  movesIn,
  renamesIn,
  renamesOf,
  RETIRED_GROUP,
  retiredMove,
  unkeptIn,
} from "../groups/renames.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import type { Clock } from "../lib/clock.ts";
import { generationOf } from "../store/generations.ts";
import { mark } from "../store/mark.ts";
import type { Checkpoint, EventStore } from "../store/port.ts";
import { EngineStartError } from "./errors.ts";

const ACCEPT = "If it is another one, start once with --accept-new-groups.";

/** How long servers with the old name may take to stop, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Gives groups the new names of their handlers, with all that is known of them.
 *
 * @param store Knows them by their old names.
 * @param domain What is to run.
 * @param clock The source of time.
 * @throws {EngineStartError} If a server works under an old name and does not stop.
 */
export async function renameGroups(store: EventStore, { handlers }: DomainDescription, clock: Clock): Promise<void> {
  const renamed = handlers.filter(({ formerly }) => formerly !== undefined);
  if (renamed.length === 0) return;
  const checkpoints = await store.checkpoints();
  for (const { name, formerly } of renamed) {
    for (const { from, to } of renamesOf(name, formerly!, checkpoints)) {
      const until = clock.elapsed() + PATIENCE;
      while (await store.renameGroup(from, to) === "held") {
        if (clock.elapsed() > until) {
          throw new EngineStartError(
            `"${name}" was called "${formerly}", and a server still works for it under that name; stop the servers with the old name first`,
          );
        }
        await clock.sleep(200);
      }
    }
  }
}

/**
 * Says why what is to run may be a renamed handler, aggregate or projection: under its new name it begins anew.
 *
 * @param domain What is to run.
 * @param checkpoints What has run before.
 * @returns What was found, with what to do; `null` if nothing was.
 */
export function renameFault({ handlers }: DomainDescription, checkpoints: readonly Checkpoint[]): string | null {
  const renames = renamesIn(handlers, checkpoints);
  const moves = movesIn(handlers, checkpoints);
  const unkept = unkeptIn(handlers, checkpoints);
  if (moves.length > 0) {
    const found = moves.map(({ group, left, fresh }) =>
      `  "${group}" has read ${left} and does not any more; it now reads ${
        fresh.join(", ")
      }, which it has not read before`
    );
    return (`Aggregates may have been renamed:\n\n${found.join("\n")}\n\n` +
      `Under a new name an aggregate has no events: it decides as if nothing had happened. Give it its old name. ${ACCEPT}`);
  }
  const received = renames.filter(({ isReceiver }) => isReceiver);
  if (received.length > 0) {
    const found = received.map(({ gone, fresh, category }) =>
      `  "${fresh}" is new; "${gone}", which has taken events of other systems (${category}), is not in the code any more`
    );
    return (`Subscribers may have been renamed:\n\n${found.join("\n")}\n\n` +
      `Under a new name a subscriber takes what it has taken a second time, and what was not handled yet stays behind. Give it its old name. ${ACCEPT}`);
  }
  if (renames.length > 0) {
    const late = new Set(handlers.filter(({ startsAt }) => startsAt === "now").map(({ name }) => name));
    const found = renames.map(({ gone, fresh, category }) =>
      late.has(fresh)
        ? `  "${fresh}" is new and would begin with what comes next in ${category}; "${gone}", which has handled what was before, is not in the code any more`
        : `  "${fresh}" is new and would handle every message of ${category} since the beginning; "${gone}", which has handled them, is not in the code any more`
    );
    const harm = [
      ...renames.some(({ fresh }) => !late.has(fresh))
        ? ["A renamed handler has all its effects a second time (rows counted twice, mails sent again)."]
        : [],
      ...renames.some(({ fresh }) => late.has(fresh))
        ? [
          "What a renamed handler has not handled or has set aside stays behind, and so do the instances and timers of a process manager.",
        ]
        : [],
    ];
    return (`Handlers may have been renamed:\n\n${found.join("\n")}\n\n${
      harm.join(" ")
    } If it was renamed, say so, like formerly: "${
      generationOf(renames[0].gone).projection
    }", or give it its old name. ${ACCEPT}`);
  }
  if (unkept.length > 0) {
    const found = unkept.map(({ group, before, projection }) =>
      `  "${group}" has kept ${before.map((name) => `"${name}"`).join(", ")} and is now to keep "${projection}"`
    );
    return (`Projections may have been renamed:\n\n${found.join("\n")}\n\n` +
      `Under a new name a projection has no rows, and its projector goes on where it was: what happened before would be missing. Give it its old name, or give the projector a new name as well, so that it builds the rows from the beginning. ${ACCEPT}`);
  }
  return null;
}

/**
 * Refuses to run what may be a renamed handler, aggregate or projection.
 *
 * @param store Knows what has run before.
 * @param domain What is to run.
 * @param accept Whether the operator has said that nothing was renamed.
 * @throws {EngineStartError} If something may have been renamed, with what to do.
 */
export async function checkRenames(store: EventStore, domain: DomainDescription, accept: boolean): Promise<void> {
  const checkpoints = await store.checkpoints();
  const fault = accept ? null : renameFault(domain, checkpoints);
  if (fault !== null) throw new EngineStartError(fault);
  const { handlers } = domain;
  const renames = renamesIn(handlers, checkpoints);
  const moves = movesIn(handlers, checkpoints);
  const noted = [
    ...[...renames.map(({ gone }) => gone), ...moves.map(retiredMove)].map((name) => [RETIRED_GROUP, name]),
    ...keptBy(handlers, checkpoints).map((name) => [KEPT_GROUP, name]),
  ];
  for (const [group, name] of noted) await store.commit({ checkpoint: mark(group, name) });
}
