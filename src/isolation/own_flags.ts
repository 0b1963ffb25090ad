import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Flags that affect module resolution; hosts and `deno cache` need them as well. */
const HANDED_ON =
  /^(--config|-c|--no-config|--import-map|--lock|--no-lock|--node-modules-dir|--vendor|--no-npm|--no-remote|--cert|--unstable-[\w-]+|--conditions|--preload|--minimum-dependency-age)$/;

/** Those that may take their value as a separate argument. */
const WITH_VALUE = /^(--config|-c|--import-map|--cert)$/;

/** The same of flags that are not handed on: what follows them is no program. */
const OTHERS_WITH_VALUE = /^(--location|--seed|--ext|--log-level|-L|--port|--host|--require|--preload)$/;

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
  const { begin, end } = programIn(commandLine, isMain);
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

/**
 * Finds the subcommand and the program in a command line; -1 for what is not there. A program may be named by a
 * specifier, which is not the URL that it has: `jsr:@annals/annals/server`, or a name of the import map.
 */
function programIn(commandLine: readonly string[], isMain: (arg: string) => boolean): { begin: number; end: number } {
  const begin = commandLine.findIndex((arg) => arg === "run" || arg === "test" || arg === "serve");
  const exact = commandLine.findIndex((arg, i) => i > begin && isMain(arg));
  if (exact >= 0 || begin < 0 || commandLine[begin] === "test") return { begin, end: exact };
  const isValue = (i: number) => WITH_VALUE.test(commandLine[i - 1]) || OTHERS_WITH_VALUE.test(commandLine[i - 1]);
  return {
    begin,
    end: commandLine.findIndex((arg, i) => i > begin && arg !== "" && !arg.startsWith("-") && !isValue(i)),
  };
}

/** The command line of this process; none on systems without /proc. */
function ownCommandLine(): string[] {
  try {
    return Deno.readTextFileSync("/proc/self/cmdline").split("\0");
  } catch {
    return [];
  }
}

/**
 * Whether a command line names its program by a specifier. Deno then looks for its configuration from the current folder
 * on, not from the folder of the program.
 *
 * @param commandLine The process's command line.
 * @returns `false` if it cannot be determined.
 */
export function isBySpecifier(commandLine: readonly string[]): boolean {
  const { begin, end } = programIn(commandLine, () => false);
  if (begin < 0 || end < 0 || commandLine[begin] !== "run") return false;
  const program = commandLine[end];
  return /^(jsr|npm|https?):/.test(program) || !(program.startsWith("file:") || exists(program));
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function folderOf(module: string): string {
  return module.startsWith("file:") ? dirname(fileURLToPath(module)) : Deno.cwd();
}

/** The configuration file that Deno discovers from a folder on; `undefined` if there is none. */
function configOf(folder: string): string | undefined {
  for (; dirname(folder) !== folder; folder = dirname(folder)) {
    const found = ["deno.json", "deno.jsonc"].map((name) => join(folder, name)).find(exists);
    if (found !== undefined) return found;
  }
}

/** Whether this process takes its configuration from the current folder; without its command line, whether there is one for this package. */
function isOfProject(commandLine: readonly string[]): boolean {
  if (commandLine.length > 0) return isBySpecifier(commandLine);
  const config = configOf(Deno.cwd());
  return config !== undefined && Deno.readTextFileSync(config).includes('"@annals/annals"');
}

/**
 * The module resolution flags for another process that runs a module of this package.
 *
 * @param module The module: a URL.
 * @returns The flags and the lock file, if there is one.
 */
export function resolution(module: string): { readonly flags: readonly string[]; readonly lock: string | undefined } {
  const commandLine = ownCommandLine();
  const own = flagsOf(commandLine, Deno.mainModule);
  const at = own.findIndex((flag) => /^(--config|-c|--no-config)(=|$)/.test(flag));
  const isGiven = at >= 0;
  const config = !isGiven
    ? configOf(isOfProject(commandLine) ? Deno.cwd() : folderOf(module))
    : own[at].startsWith("--no-config")
    ? undefined
    : own[at].split("=")[1] ?? own[at + 1];
  const flags = isGiven || config === undefined ? own : [...own, "--config", config];
  if (own.includes("--no-lock")) return { flags, lock: undefined };
  const named = own.find((flag) => flag.startsWith("--lock="))?.slice("--lock=".length);
  const lock = named ?? (config === undefined ? undefined : join(dirname(config), "deno.lock"));
  return { flags, lock: lock !== undefined && exists(lock) ? lock : undefined };
}
