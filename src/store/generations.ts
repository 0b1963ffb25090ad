import type { CategoryRange } from "./behind.ts";
import { mark } from "./mark.ts";
import type { Checkpoint, Generation, Swap, SwapRefusal } from "./port.ts";
import { reachedBy } from "./reached.ts";

export type { Generation, Swap, SwapRefusal } from "./port.ts";

/**
 * Names the rows of one generation, whichever readers see.
 *
 * @param projection The projection.
 * @param generation The generation.
 * @returns Like `Balance@2`.
 */
export function rowsOf(projection: string, generation: string | number): string {
  return `${projection}@${generation}`;
}

/**
 * Splits a name made by {@linkcode rowsOf}.
 *
 * @param name The name.
 * @returns The projection, and the generation; `null` for the rows that readers see.
 */
export function generationOf(name: string): { readonly projection: string; readonly generation: string | null } {
  const at = name.lastIndexOf("@");
  return at < 0
    ? { projection: name, generation: null }
    : { projection: name.slice(0, at), generation: name.slice(at + 1) };
}

/**
 * Returns what rows are stored under. Those of the first generation have the projection's name, as before there were others.
 *
 * @param name A projection's name, or one made by {@linkcode rowsOf}.
 */
export function storedAs(name: string): string {
  return name.endsWith("@1") ? name.slice(0, -2) : name;
}

/**
 * Names the group that feeds a generation. The first one has the handler's name.
 *
 * @param handler The handler's name, without a version.
 * @param generation The generation.
 */
export function groupFor(handler: string, generation: string | number): string {
  return storedAs(rowsOf(handler, generation));
}

/** Names the group whose lease a generation is built under. */
export function buildGroup(projection: string, generation: string): string {
  return `$build ${rowsOf(projection, generation)}`;
}

/** The group whose checkpoints name, in place of a category, groups that have another name now: nobody works for them. */
export const RENAMED_GROUP = "$renamed";

/** The mark that a group has another name. */
export function renamedMark(group: string): Checkpoint {
  return mark(RENAMED_GROUP, group);
}

/** Compares two generations of a projection by their age. */
export function compareGenerations(a: string, b: string): number {
  const [x, y] = [a, b].map((name) => name.split(".").map(Number));
  return x[0] - y[0] || (x[1] ?? 0) - (y[1] ?? 0);
}

/** Returns the version of the code that a generation is made by. */
export function versionOf(generation: string): number {
  return Number(generation.split(".")[0]);
}

/**
 * Names the next generation that is made by the same code.
 *
 * @param generations Those that there are.
 * @param version The version of the code.
 */
export function nextGeneration(generations: readonly string[], version: number): string {
  const rebuilds = generations.filter((name) => versionOf(name) === version)
    .map((name) => Number(name.split(".")[1] ?? 0));
  return rebuilds.length === 0 ? String(version) : `${version}.${Math.max(...rebuilds) + 1}`;
}

/**
 * Says where a generation is not as far as the one whose place it is to take. Groups that hear nothing do not move on, so
 * only messages that are there tell whether it lacks something.
 *
 * @param swap What is asked.
 * @param known What the store has, in the same transaction.
 * @returns The parts of categories in which messages would be lacking.
 */
export function rangesBehind(
  { from, to, categories }: Swap,
  { generations, checkpoints }: Pick<SwapFacts, "generations" | "checkpoints">,
): CategoryRange[] {
  const reached = (name: string, category: string) => {
    const group = generations.find(({ generation }) => generation === name)?.group;
    return reachedBy(checkpoints.filter((checkpoint) => checkpoint.group === group), category);
  };
  return categories
    .map((category) => ({ category, after: reached(to, category), upTo: reached(from, category) }))
    .filter(({ after, upTo }) => after < upTo);
}

/** What a store knows about two generations, one of which is to take the place of the other. */
export interface SwapFacts {
  /** Those of the projection. */
  readonly generations: readonly Generation[];
  /** Of both groups. */
  readonly checkpoints: readonly Checkpoint[];
  /** How many messages the group of the new one has deferred or given up. */
  readonly held: number;
  /** A category in which there are messages of {@linkcode rangesBehind}; `undefined` if there is none. */
  readonly lacking: string | undefined;
}

/**
 * Says why a generation may not take the place of another one.
 *
 * @param swap What is asked.
 * @param known What the store has, in the same transaction.
 * @returns The reason; `null` if it may.
 */
export function swapRefusal(
  { projection, from, to, stale = false }: Swap,
  { generations, held, lacking }: Omit<SwapFacts, "checkpoints">,
): SwapRefusal | null {
  const next = generations.find(({ generation }) => generation === to);
  const active = generations.find(({ isActive }) => isActive);
  const refuse = (reason: SwapRefusal["reason"], message: string): SwapRefusal => ({ reason, message });
  if (!next || next.state === "dropped") return refuse("absent", `there is no generation ${to} of "${projection}"`);
  if (active?.generation !== from) {
    return refuse("other", `readers see generation ${active?.generation ?? "none"}, not ${from}`);
  }
  if (next.state === "building") {
    return next.error === null
      ? refuse("building", `generation ${to} is being built`)
      : refuse("stopped", `generation ${to} cannot be built: ${next.error}`);
  }
  if (stale) return null;
  if (held > 0) {
    const messages = held === 1 ? "message" : "messages";
    const where = `annals subscriptions status, annals dlq list --group ${next.group}`;
    return refuse("held", `generation ${to} holds back ${held} ${messages}, deferred or given up: see ${where}`);
  }
  if (lacking === undefined) return null;
  return refuse("behind", `generation ${to} has not passed what ${from} has passed in ${lacking}`);
}
