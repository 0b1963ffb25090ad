import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Flags that say how modules are found: a host, or a command that fills the cache, needs them, too. */
const HANDED_ON =
  /^(--config|-c|--no-config|--import-map|--lock|--no-lock|--node-modules-dir|--vendor|--no-npm|--no-remote|--cert|--unstable-[\w-]+|--conditions|--preload|--minimum-dependency-age)$/;

/** Those of them that may have their value behind them. */
const WITH_VALUE = /^(--config|-c|--import-map|--cert)$/;

/**
 * The flags that this process was given by `deno run` and that say how modules are found, so that another can be started
 * like it.
 *
 * @param commandLine The process's arguments, as the system has them.
 * @param mainModule The module it runs: a URL.
 * @returns The flags; none when they cannot be told.
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

/** {@linkcode flagsOf} of this process; none where the system does not tell. */
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

/**
 * What keeps a process from changing the lock file, or making one: what it may load is decided by then.
 *
 * @param flags What it is given otherwise.
 * @param module The module it runs: a URL.
 */
export function frozen(flags: readonly string[], module: string): string[] {
  if (flags.some((flag) => flag === "--no-lock")) return [];
  const lock = flags.find((flag) => flag.startsWith("--lock="))?.slice("--lock=".length);
  if (lock !== undefined) return exists(lock) ? ["--frozen"] : ["--no-lock"];
  const at = flags.findIndex((flag) => /^(--config|-c)(=|$)/.test(flag));
  const config = at < 0 ? undefined : flags[at].split("=")[1] ?? flags[at + 1];
  const folders: string[] = [];
  if (config !== undefined) folders.push(dirname(config));
  else {
    let folder = module.startsWith("file:") ? dirname(fileURLToPath(module)) : Deno.cwd();
    for (; dirname(folder) !== folder; folder = dirname(folder)) folders.push(folder);
  }
  const found = folders.find((folder) => ["deno.json", "deno.jsonc"].some((name) => exists(join(folder, name))));
  return (config !== undefined || found !== undefined) && exists(join(found ?? folders[0], "deno.lock"))
    ? ["--frozen"]
    : ["--no-lock"];
}
