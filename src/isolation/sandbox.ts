import process from "node:process";
import type { HandlerLog } from "../domain/context.ts";

/**
 * Removes capabilities that permissions do not cover, before domain code is loaded.
 *
 * @param env The environment variables that domain code may see.
 * @param log Where `console` writes to; stdout is reserved for the server.
 */
export function sandbox(env: Readonly<Record<string, string>>, log: HandlerLog): void {
  // Packages enumerate process.env while loading, which would otherwise require access to all of it.
  Object.defineProperty(process, "env", { value: { ...env }, configurable: true, writable: true });
  const refuse = (what: string) => (): never => {
    throw new Error(
      `${what} is not for handlers: it would end the worker during a batch; throw an error instead`,
    );
  };
  Object.defineProperty(Deno, "exit", { value: refuse("Deno.exit()") });
  Object.defineProperty(process, "exit", { value: refuse("process.exit()") });
  Object.defineProperty(process, "abort", { value: refuse("process.abort()") });
  Object.defineProperty(process, "reallyExit", { value: refuse("process.reallyExit()") });
  Object.defineProperty(process, "kill", { value: refuse("process.kill()") });
  Object.defineProperty(globalThis, "close", { value: refuse("close()") });
  // The host's main thread only receives messages on the port given to the worker.
  for (let scope: object | null = globalThis; scope !== null; scope = Object.getPrototypeOf(scope)) {
    Reflect.deleteProperty(scope, "postMessage");
  }
  const unheard = (): never => {
    throw new Error("postMessage() reaches nobody from a handler; use its context");
  };
  Object.defineProperty(globalThis, "postMessage", { value: unheard });
  const line = (level: keyof HandlerLog) => (...values: unknown[]) =>
    log[level](values.map((value) => typeof value === "string" ? value : Deno.inspect(value)).join(" "));
  Object.assign(console, {
    log: line("info"),
    info: line("info"),
    debug: line("debug"),
    warn: line("warn"),
    error: line("error"),
    trace: line("debug"),
  });
}
