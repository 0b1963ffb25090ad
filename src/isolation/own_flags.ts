import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Flags that affect module resolution; hosts and `deno cache` need them as well. */
const HANDED_ON =
  /^(--config|-c|--no-config|--import-map|--lock|--no-lock|--node-modules-dir|--vendor|--no-npm|--no-remote|--cert|--unstable-[\w-]+|--conditions|--preload|--minimum-dependency-age)$/;

/** Those that may take their value as a separate argument. */
const WITH_VALUE = /^(--config|-c|--import-map|--cert)$/;

/**
 * Extracts the module resolution flags of a `deno run` command line, so that another process can be started alike.
 *
 * @param commandLine The process's command line.
 * @param mainModule The URL of its main module.
 * @returns The flags; none if they cannot be determined.
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
  const begin = commandLine.findIndex((arg) => arg === "run" || arg === "test" || arg === "serve");
  const end = commandLine.findIndex((arg, i) => i > begin && isMain(arg));
  if (begin < 0) return [];
  const given = commandLine.slice(begin + 1, end < 0 ? undefined : end);
  const flags: string[] = [];
  for (let i = 0; i < given.length && given[i] !== "--"; i++) {
    if (!HANDED_ON.test(given[i].split("=")[0])) continue;
    flags.push(given[i]);
    if (WITH_VALUE.test(given[i]) && i + 1 < given.length) flags.push(given[++i]);
  }
  return flags;
}

/** {@linkcode flagsOf} this process; none on systems without /proc. */
export function handedOn(): string[] {
  try {
    return flagsOf(Deno.readTextFileSync("/proc/self/cmdline").split("\0"), Deno.mainModule);
  } catch {
    return [];
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The configuration file that Deno discovers for a module; `undefined` if there is none. */
function configOf(module: string): string | undefined {
  let folder = module.startsWith("file:") ? dirname(fileURLToPath(module)) : Deno.cwd();
  for (; dirname(folder) !== folder; folder = dirname(folder)) {
    const found = ["deno.json", "deno.jsonc"].map((name) => join(folder, name)).find(exists);
    if (found !== undefined) return found;
  }
}

/**
 * The module resolution flags for another process that runs a module of this package.
 *
 * @param module The module: a URL.
 * @returns The flags and the lock file, if there is one.
 */
export function resolution(module: string): { readonly flags: readonly string[]; readonly lock: string | undefined } {
  const own = handedOn();
  const at = own.findIndex((flag) => /^(--config|-c|--no-config)(=|$)/.test(flag));
  const isGiven = at >= 0;
  const config = !isGiven
    ? configOf(module)
    : own[at].startsWith("--no-config")
    ? undefined
    : own[at].split("=")[1] ?? own[at + 1];
  const flags = isGiven || config === undefined ? own : [...own, "--config", config];
  if (own.includes("--no-lock")) return { flags, lock: undefined };
  const named = own.find((flag) => flag.startsWith("--lock="))?.slice("--lock=".length);
  const lock = named ?? (config === undefined ? undefined : join(dirname(config), "deno.lock"));
  return { flags, lock: lock !== undefined && exists(lock) ? lock : undefined };
}
