import { basename, isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Config } from "../config/config.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { EngineStartError } from "./errors.ts";

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const URL_SCHEME = /^(file|https?|jsr|npm|data|blob|node):/;

/** A module's permissions follow from where it lies, so it has to lie in a folder. */
function checkScheme(url: string): string {
  if (/^(file|https?):/.test(url)) return url;
  throw new EngineStartError(
    `Cannot run "${
      url.slice(0, 80)
    }": name a file or an http(s) URL; for a package, write a module that imports it: export { default } from ${
      JSON.stringify(url.slice(0, 80))
    }`,
    2,
  );
}

/** The domain names known in the current folder. */
function known(config: Config, cwd: string): string[] {
  const names = new Set(Object.keys(config.domains));
  for (const folder of [cwd, resolve(cwd, "examples")]) {
    try {
      for (const entry of Deno.readDirSync(folder)) {
        if (entry.isDirectory && isFile(resolve(folder, entry.name, "domain.ts"))) names.add(entry.name);
      }
    } catch {
      // No such folder.
    }
  }
  return [...names].sort();
}

/**
 * Resolves the `--domain=` argument: a URL, a path, or a name.
 *
 * @param given The argument.
 * @param config The configuration.
 * @param cwd The base of relative paths. @default {the current folder}
 * @returns A URL.
 * @throws {EngineStartError} If there is no such module; the message lists the known ones.
 */
export function findDomain(given: string, config: Config, cwd: string = Deno.cwd()): string {
  if (URL_SCHEME.test(given)) return checkScheme(given);
  const configured = config.domains[given];
  if (configured !== undefined) {
    if (URL_SCHEME.test(configured)) return checkScheme(configured);
    if (!isFile(configured)) {
      throw new EngineStartError(
        `${config.file}: domains.${given} = "${configured}": there is no such file; correct the path`,
        2,
      );
    }
    return pathToFileURL(configured).href;
  }
  const isPath = isAbsolute(given) || /[/\\.]/.test(given);
  const candidates = isPath
    ? [given, `${given}/domain.ts`]
    : [`${given}.ts`, `${given}/domain.ts`, `examples/${given}/domain.ts`];
  // `deno task` changes the folder, and tells where it was called.
  const called = Deno.env.get("INIT_CWD");
  for (const folder of called === undefined ? [cwd] : [called, cwd]) {
    for (const candidate of candidates) {
      const path = resolve(folder, candidate);
      if (isFile(path)) return pathToFileURL(path).href;
    }
  }
  const names = known(config, cwd);
  const name = isPath ? basename(given.replace(/\.ts$/, "")) : given;
  throw new EngineStartError(
    isPath
      ? `There is no domain module "${given}" (looked for ${resolve(cwd, given)})${didYouMean(name, names)}`
      : `There is no domain "${given}" (a module path like ./domain.ts also works)${didYouMean(given, names)}`,
    2,
  );
}
