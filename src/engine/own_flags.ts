import { fileURLToPath } from "node:url";

/** Flags that only make sense once. */
const NOT_HANDED_ON = /^--(inspect|watch|v8-flags)/;

/** What an engine is started with when it cannot be told what this process was started with. */
const DEFAULT = ["-A"];

/**
 * The flags that this process was given by `deno run`, so that another can be started like it: configuration, import
 * map, lock file, permissions.
 *
 * @param commandLine The process's arguments, as the system has them.
 * @param mainModule The module it runs: a URL.
 * @returns The flags; `-A` when they cannot be told.
 */
export function flagsOf(commandLine: readonly string[], mainModule: string): string[] {
  const main = mainModule.startsWith("file:") ? fileURLToPath(mainModule) : mainModule;
  const isMain = (arg: string): boolean => {
    try {
      return arg === mainModule || Deno.realPathSync(arg) === Deno.realPathSync(main);
    } catch {
      return false;
    }
  };
  const begin = commandLine.indexOf("run");
  const end = commandLine.findIndex((arg, i) => i > begin && isMain(arg));
  if (begin < 0 || end < 0) return DEFAULT;
  const flags = commandLine.slice(begin + 1, end);
  return flags.filter((flag) => !NOT_HANDED_ON.test(flag));
}

/** {@linkcode flagsOf} of this process; `-A` where the system does not tell. */
export function ownFlags(): string[] {
  try {
    return flagsOf(Deno.readTextFileSync("/proc/self/cmdline").split("\0"), Deno.mainModule);
  } catch {
    return DEFAULT;
  }
}
