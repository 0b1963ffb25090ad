import { Script } from "node:vm";

const SLOT = Symbol.for("annals.guarded");

/**
 * Creates a function that runs synchronous code under a time limit. `terminate()` does not stop a loop; a `node:vm`
 * script with a timeout does, and the worker stays usable.
 *
 * @returns A function that runs `work` and throws an error with code `ERR_SCRIPT_EXECUTION_TIMEOUT` after `timeout`
 * milliseconds.
 */
export function createGuard(): <T>(work: () => T, timeout: number) => T {
  const script = new Script(`globalThis[Symbol.for("annals.guarded")]()`);
  let work: (() => unknown) | undefined;
  let inside = false;
  Object.defineProperty(globalThis, SLOT, { value: () => work!() });
  return <T>(next: () => T, timeout: number): T => {
    if (inside) return next();
    work = next;
    inside = true;
    try {
      return script.runInThisContext({ timeout: Math.max(1, Math.ceil(timeout)) }) as T;
    } finally {
      inside = false;
      work = undefined;
    }
  };
}
