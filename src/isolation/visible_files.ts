import { basename, dirname, join, resolve, sep } from "node:path";
import type { Config } from "../config/config.ts";

/** Folders that are not looked into: they are large, and full of links to each other. */
const WHOLE = "node_modules";

/** How many files and folders are looked at. */
const MOST_ENTRIES = 20_000;

/** What no handler may see, wherever it is. */
const SECRET =
  /^(domain\.toml|\.git|\.env(\..*)?|\.npmrc|\.netrc|\.ssh|\.aws|id_(rsa|dsa|ecdsa|ed25519)(_sk)?(\.pub)?|.*\.(pem|key|p12|pfx))$/;

/** The files that belong to the server, not to its handlers. */
export interface ServerFiles {
  /** Whether an absolute path is one of them. */
  has(path: string): boolean;
  /** Whether one lies in a folder, or will as soon as the server makes it. */
  mayLieIn(folder: string): boolean;
}

/** For code that is run without a server. */
export const NO_SERVER_FILES: ServerFiles = { has: () => false, mayLieIn: () => false };

/**
 * Tells which files belong to the server: the configuration, the data folder, and SQLite files.
 *
 * @param config The configuration.
 * @returns Those files.
 */
export function serverFilesOf(config: Config): ServerFiles {
  const files = [config.store, config.broker].filter(({ provider }) => provider === "sqlite").map(({ url }) => {
    const [start, ...rest] = url.split("{domain}");
    return { start, end: rest.join("{domain}") };
  });
  const data = resolve(config.folder, ".annals");
  // It may have been named by a relative path.
  const file = config.file === null ? null : join(config.folder, basename(config.file));
  return {
    has: (path) =>
      path === file || path === data || path.startsWith(`${data}${sep}`) ||
      // With what SQLite and the broker put behind the name.
      files.some(({ start, end }) => path.startsWith(start) && path.slice(start.length).includes(end)),
    mayLieIn: (folder) => {
      const inside = folder.endsWith(sep) ? folder : `${folder}${sep}`;
      return [data, ...files.map(({ start }) => start)].some((path) => path.startsWith(inside));
    },
  };
}

function leadsOut(path: string, folder: string): boolean {
  try {
    return !Deno.realPathSync(path).startsWith(`${Deno.realPathSync(folder)}${sep}`);
  } catch {
    // It leads nowhere.
    return true;
  }
}

/**
 * Lists what handlers may read of a folder: all of it but secrets, the server's own files, and symbolic links that lead
 * out of it.
 *
 * @param folder The folder.
 * @param own The server's own files.
 * @returns Paths; only the folder itself if there is nothing to leave out, now or once the server has made its files.
 */
export function visibleIn(folder: string, own: ServerFiles): string[] {
  let entries = 0;
  const look = (at: string): { readonly paths: readonly string[]; readonly isWhole: boolean } => {
    const paths: string[] = [];
    let isWhole = !own.mayLieIn(at);
    for (const entry of Deno.readDirSync(at)) {
      const path = join(at, entry.name);
      if (SECRET.test(entry.name) || own.has(path) || (entry.isSymlink && leadsOut(path, folder))) {
        isWhole = false;
        continue;
      }
      if (!entry.isDirectory || entry.name === WHOLE || ++entries > MOST_ENTRIES) {
        paths.push(path);
        continue;
      }
      const inside = look(path);
      if (!inside.isWhole) isWhole = false;
      paths.push(...inside.isWhole ? [path] : inside.paths);
    }
    return { paths, isWhole };
  };
  try {
    const { paths, isWhole } = look(folder);
    return isWhole ? [folder] : [...paths];
  } catch {
    // It cannot be listed, so nothing of it could be read.
    return [folder];
  }
}

/**
 * Finds a grant that would open the server's files to a handler.
 *
 * @param grant Absolute paths.
 * @param config The configuration.
 * @param domain The domain's name.
 * @returns The first such path; `undefined` if there is none.
 */
export function exposing(grant: readonly string[], config: Config, domain: string): string | undefined {
  const files = [config.store, config.broker].filter(({ provider }) => provider === "sqlite")
    .map(({ url }) => url.replaceAll("{domain}", domain));
  const opens = (path: string): boolean =>
    path === dirname(path) || files.some((file) => path.startsWith(file) || file.startsWith(`${path}${sep}`));
  return grant.find(opens);
}
