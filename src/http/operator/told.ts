import type { Look } from "./live.ts";

/** What charts need of the looks that somebody has missed: numbers only, a list for each line, in order of time. */
export interface History {
  /** When, in milliseconds since 1970. */
  readonly at: readonly number[];
  /** How long batches took, on average; 0 if there were none. */
  readonly handlingMs: readonly number[];
  readonly commitMs: readonly number[];
  /** Of each group: messages that came for it, and that it is done with, a second; and how many it is behind. */
  readonly groups: Readonly<
    Record<string, { readonly in: readonly number[]; readonly out: readonly number[]; readonly lag: readonly number[] }>
  >;
}

/** A look as a whole, for whoever knows none, or when the store does not answer; with what was before. */
export interface Told extends Look {
  readonly isWhole: true;
  readonly history?: History;
}

/** What is new in a look, for whoever has the one before: of two hundred groups, most are as they were. */
export interface ToldNews extends Partial<Omit<Look, "at" | "rate" | "rates" | "timing">> {
  readonly isWhole?: undefined;
  readonly at: number;
  readonly rate: number;
  /** Of groups for which something came, or that have handled something; all others stand still. */
  readonly rates: Look["rates"];
  readonly timing: Look["timing"];
  /** Groups that are not there any more. */
  readonly gone: readonly string[];
}

/** More than anybody sees. */
function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

function meanOf({ timing }: Look, name: "handlingMs" | "commitMs"): number {
  const times = Object.values(timing);
  return times.length === 0 ? 0 : rounded(times.reduce((sum, one) => sum + one[name], 0) / times.length);
}

/**
 * Returns looks as charts draw them.
 *
 * @param looks The looks, in order; those for which the store did not answer are left out.
 */
export function historyOf(looks: readonly Look[]): History {
  const known = looks.filter(({ groups }) => groups !== undefined);
  const lags = known.map(({ groups }) => new Map(groups!.map(({ group, lagMessages }) => [group, lagMessages])));
  const names = known.at(-1)?.groups?.map(({ group }) => group) ?? [];
  const ratesOf = (group: string, way: "in" | "out") => known.map(({ rates }) => rounded(rates[group]?.[way] ?? 0));
  return {
    at: known.map(({ at }) => at),
    handlingMs: known.map((look) => meanOf(look, "handlingMs")),
    commitMs: known.map((look) => meanOf(look, "commitMs")),
    groups: Object.fromEntries(
      names.map((group) => [group, {
        in: ratesOf(group, "in"),
        out: ratesOf(group, "out"),
        lag: lags.map((lag) => lag.get(group) ?? 0),
      }]),
    ),
  };
}

/**
 * Compares a look with the one before.
 *
 * @returns What is new; all of it if the store did not answer at one of them.
 */
export function newsOf(before: Look, after: Look): Told | ToldNews {
  if (!before.groups || !after.groups) return { ...after, isWhole: true };
  const known = new Map(before.groups.map((group) => [group.group, JSON.stringify(group)]));
  const left = new Set(after.groups.map(({ group }) => group));
  const { at, rate, rates, timing, groups, ...rest } = after;
  const changed = Object.entries(rest).filter(([name, value]) =>
    JSON.stringify(value) !== JSON.stringify(before[name as keyof Look])
  );
  return {
    at,
    rate,
    rates: Object.fromEntries(Object.entries(rates).filter(([, { in: came, out }]) => came > 0 || out > 0)),
    timing,
    ...Object.fromEntries(changed),
    groups: groups.filter((group) => known.get(group.group) !== JSON.stringify(group)),
    gone: [...known.keys()].filter((group) => !left.has(group)),
  };
}
