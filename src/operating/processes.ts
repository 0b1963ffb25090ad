import { Semaphore } from "../lib/semaphore.ts";
import { type HandledInput, type InstanceStatus, ProcessInspector } from "../processes/inspect.ts";
import { timerKey } from "../processes/names.ts";
import { WrongExpectedVersionError } from "../store/errors.ts";
import type { Operator } from "./operator.ts";

/** What an instance can be. */
export const STATUSES = ["absent", "running", "undoing", "ended", "set aside"] as const;

/** How many outcomes are read at a time. */
const TOGETHER = 50;

/** How often it is tried to abandon an instance that handles something meanwhile. */
const MOST_TRIES = 10;

/** The names of the domain's process managers: those whose instances keep a journal. */
export function managersOf({ domain }: Pick<Operator, "domain">): string[] {
  return domain.handlers.filter(({ appends }) => appends.some(({ isVersioned }) => isVersioned)).map(({ name }) =>
    name
  );
}

/** Returns what reads the instances of a domain's process managers. */
export function inspectorOf({ store, domain }: Pick<Operator, "store" | "domain">): ProcessInspector {
  return new ProcessInspector(store, domain.name);
}

/**
 * Returns instances: those first that somebody has to do something about.
 *
 * @param operator The domain.
 * @param options Of which process manager, and with which status. @default {of all; those that have not ended}
 * @returns Those that were selected, and the number of all.
 */
export async function instancesOf(
  operator: Pick<Operator, "store" | "domain">,
  { manager, status }: { readonly manager?: string; readonly status?: string } = {},
): Promise<{ readonly chosen: InstanceStatus[]; readonly total: number }> {
  const found: InstanceStatus[] = [];
  for (const name of manager === undefined ? managersOf(operator) : [manager]) {
    found.push(...await inspectorOf(operator).instances(name));
  }
  const chosen = found.filter((one) => status === undefined ? one.status !== "ended" : one.status === status)
    .sort((a, b) => Number(b.status === "set aside") - Number(a.status === "set aside"));
  return { chosen, total: found.length };
}

/** A timer of an instance. */
export interface InstanceTimer {
  /** Its name. */
  readonly name: string;
  /** When it is due, in milliseconds since 1970; `null` if it has fired or was cancelled, and the instance has not heard of it. */
  readonly dueAt: number | null;
}

/** Finds out when the timers of an instance are due. */
export async function timersOf(
  { store }: Pick<Operator, "store">,
  { manager, id, timers }: Pick<InstanceStatus, "manager" | "id" | "timers">,
): Promise<InstanceTimer[]> {
  return await Promise.all(timers.map(async (name) => {
    const [found] = await store.scheduled({ key: timerKey(manager, name, id) });
    return { name, dueAt: found?.dueAt ?? null };
  }));
}

/** Finds out what came of the commands that an instance has sent, by their ids. */
export async function outcomesOf(
  { store }: Pick<Operator, "store">,
  history: readonly HandledInput[],
): Promise<Map<string, string>> {
  const outcomes = new Map<string, string>();
  const room = new Semaphore(TOGETHER);
  await Promise.all(
    history.flatMap(({ sent = [] }) => sent).map(({ id }) =>
      room.run(async () => {
        outcomes.set(id, (await store.outcome(id))?.status ?? "not decided, or not kept");
      })
    ),
  );
  return outcomes;
}

/**
 * Ends an instance as it is, also if it handles something meanwhile.
 *
 * @returns Whether there was one that had not ended.
 */
export async function abandonInstance(
  operator: Pick<Operator, "store" | "domain">,
  manager: string,
  id: string,
): Promise<boolean> {
  for (let tries = 1;; tries++) {
    try {
      return await inspectorOf(operator).abandon(manager, id);
    } catch (error) {
      // It has handled something meanwhile.
      if (!(error instanceof WrongExpectedVersionError) || tries === MOST_TRIES) throw error;
    }
  }
}
