/** A line of the results table. */
export interface Result {
  /** What was measured. */
  readonly name: string;
  /** The value. */
  readonly value: number;
  /** Its unit. */
  readonly unit: string;
  /** The same work by the bare driver in the same run and unit; `null` if there is no equivalent. */
  readonly floor: number | null;
  /** The value divided by the floor. */
  readonly ratio: number | null;
  /** The goal, as text. */
  readonly goal: string;
  /** Whether the goal was reached. */
  readonly met: boolean;
}

/** Creates a line with a minimum value as the goal. */
export function atLeast(name: string, value: number, unit: string, goal: number, floor: number | null = null): Result {
  return { ...line(name, value, unit, floor), goal: `≥ ${goal.toLocaleString("en")} ${unit}`, met: value >= goal };
}

/** Creates a line with a maximum value as the goal. */
export function atMost(name: string, value: number, unit: string, goal: number, floor: number | null = null): Result {
  return { ...line(name, value, unit, floor), goal: `≤ ${goal.toLocaleString("en")} ${unit}`, met: value <= goal };
}

/** Creates a line with a minimum ratio to the floor as the goal. */
export function ratioAtLeast(name: string, value: number, unit: string, goal: number, floor: number): Result {
  return { ...line(name, value, unit, floor), goal: `ratio ≥ ${goal}`, met: value / floor >= goal };
}

function line(name: string, value: number, unit: string, floor: number | null) {
  const round = (number: number) => number >= 100 ? Math.round(number) : Math.round(number * 100) / 100;
  const ratio = floor === null ? null : Math.round(value / floor * 100) / 100;
  return { name, value: round(value), unit, floor: floor === null ? null : round(floor), ratio };
}

/** Returns the median. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Runs work in a temporary folder. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "annals-bench-" });
  try {
    return await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
