/** One line of the table. */
export interface Result {
  /** What was measured. */
  readonly name: string;
  /** The figure. */
  readonly value: number;
  /** Its unit. */
  readonly unit: string;
  /** The same work by the bare driver, in the same run, in the same unit; `null` where there is no such thing. */
  readonly floor: number | null;
  /** Value by floor. */
  readonly ratio: number | null;
  /** What is asked for, in words. */
  readonly goal: string;
  /** Whether it was reached. */
  readonly met: boolean;
}

/** Makes a line; the goal is about the value. */
export function atLeast(name: string, value: number, unit: string, goal: number, floor: number | null = null): Result {
  return { ...line(name, value, unit, floor), goal: `≥ ${goal.toLocaleString("en")} ${unit}`, met: value >= goal };
}

/** Makes a line; the goal is about the value, and less is better. */
export function atMost(name: string, value: number, unit: string, goal: number, floor: number | null = null): Result {
  return { ...line(name, value, unit, floor), goal: `≤ ${goal.toLocaleString("en")} ${unit}`, met: value <= goal };
}

/** Makes a line; the goal is about the ratio to the floor. */
export function ratioAtLeast(name: string, value: number, unit: string, goal: number, floor: number): Result {
  return { ...line(name, value, unit, floor), goal: `ratio ≥ ${goal}`, met: value / floor >= goal };
}

function line(name: string, value: number, unit: string, floor: number | null) {
  const round = (number: number) => number >= 100 ? Math.round(number) : Math.round(number * 100) / 100;
  const ratio = floor === null ? null : Math.round(value / floor * 100) / 100;
  return { name, value: round(value), unit, floor: floor === null ? null : round(floor), ratio };
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Runs something on a folder of its own. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "annals-bench-" });
  try {
    return await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
