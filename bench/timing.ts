import { median } from "./result.ts";

/** Runs concurrent callers for some seconds; returns the units completed per second. */
export async function callers(
  seconds: number,
  count: number,
  units: number,
  call: (caller: number) => Promise<unknown>,
): Promise<number> {
  const began = performance.now();
  let done = 0;
  await Promise.all(Array.from({ length: count }, async (_, caller) => {
    while (performance.now() - began < seconds * 1000) {
      await call(caller);
      done += units;
    }
  }));
  return done / ((performance.now() - began) / 1000);
}

/** Does something some times, one after the other; returns the median time, in milliseconds. */
export async function medianTime(times: number, work: () => Promise<unknown>): Promise<number> {
  const found: number[] = [];
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await work();
    found.push(performance.now() - began);
  }
  return median(found);
}
