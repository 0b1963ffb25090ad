import { basename, resolve } from "node:path";
import { UsageError } from "../cli/run.ts";

/** The longest name of a domain that is made here: it is in names of files. */
const LONGEST_NAME = 100;

/**
 * Makes the domain's name of the folder's: `Müller & Co` is `muller-co`.
 *
 * @param folder The folder's path.
 * @param given The name, if the user gave one.
 * @returns The name.
 * @throws {UsageError} If there is no folder, the name that was given is none, or none can be made of the folder's.
 */
export function domainName(folder: string, given?: string): string {
  if (folder.trim() === "" || folder.includes("\0")) {
    throw new UsageError(`Cannot make a project in ${JSON.stringify(folder)}: name a folder, like my-bank`);
  }
  const base = basename(resolve(folder));
  const name = given ??
    base.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  if (name.length <= LONGEST_NAME && /^[a-z][a-z0-9-]*$/.test(name)) return name;
  const rule =
    `a domain's name starts with a lower-case letter, has only a-z, 0-9 and "-", and at most ${LONGEST_NAME} characters`;
  throw new UsageError(
    given === undefined
      ? `Cannot make a domain's name of the folder "${base}": ${rule}; choose another folder, or name the domain with --name=my-bank`
      : `Cannot use the name "${given}": ${rule}`,
  );
}

/**
 * A path as a word for a shell, to be copied from the terminal.
 *
 * @param path A relative path.
 * @returns It as it is if no shell reads anything into it; otherwise in the quotes that most shells know.
 */
export function shellWord(path: string): string {
  const relative = path.startsWith("-") ? `./${path}` : path;
  if (/^[\w./-]+$/.test(relative)) return relative;
  // cmd.exe knows double quotes only, but in those of other shells these characters mean something.
  return /["$`\\!]/.test(relative) ? `'${relative.replaceAll("'", "'\\''")}'` : `"${relative}"`;
}
