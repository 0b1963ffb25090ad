import { dirname, join, resolve } from "node:path";
import { UsageError } from "../cli/run.ts";
import { AnnalsError } from "../lib/annals_error.ts";

/** Thrown when a project cannot be written. */
export class ProjectWriteError extends AnnalsError {
  /** Always `ProjectWriteError`. */
  override readonly name = "ProjectWriteError";
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What lies at a path; also a link that leads nowhere. */
function found(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function refuseExisting(folder: string, names: readonly string[]): void {
  const existing = names.filter((name) => found(join(folder, name)) !== null);
  if (existing.length === 0) return;
  throw new UsageError(
    `Cannot make a project in ${folder}: there is ${existing.join(", ")} already, and nothing is overwritten; ` +
      `choose another folder, or move ${existing.length === 1 ? "it" : "them"} away`,
  );
}

/** The folders that have to be made, outermost first. */
function missing(folder: string): string[] {
  if (found(folder) !== null) return [];
  return [...dirname(folder) === folder ? [] : missing(dirname(folder)), folder];
}

/**
 * Writes new files into a folder, which is made if there is none: all of them, or none.
 *
 * @param folder The folder.
 * @param files Their texts, by name.
 * @throws {UsageError} If one of them exists, or the folder is no folder.
 * @throws {ProjectWriteError} If they cannot be written; what was written is removed again.
 */
export function writeProject(folder: string, files: Readonly<Record<string, string>>): void {
  const target = resolve(folder);
  const made: string[] = [];
  try {
    if (found(target) !== null && !Deno.statSync(target).isDirectory) {
      throw new UsageError(`Cannot make a project in ${target}: it is a file; choose another folder`);
    }
    refuseExisting(target, Object.keys(files));
    for (const path of missing(target)) {
      Deno.mkdirSync(path);
      made.push(path);
    }
    for (const [name, text] of Object.entries(files)) {
      const path = join(target, name);
      const file = Deno.openSync(path, { write: true, createNew: true });
      made.push(path);
      try {
        const bytes = new TextEncoder().encode(text);
        for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
      } finally {
        file.close();
      }
    }
  } catch (error) {
    const left = undo(made);
    if (error instanceof UsageError) throw error;
    throw new ProjectWriteError(
      `Cannot make a project in ${target}: ${textOf(error)}${
        left.length > 0 ? `; remove what could not be removed: ${left.join(", ")}` : "; nothing was left behind"
      }`,
    );
  }
}

/** Removes what was made, and returns what is still there. */
function undo(made: readonly string[]): string[] {
  return made.toReversed().filter((path) => {
    try {
      Deno.removeSync(path);
      return false;
    } catch {
      return true;
    }
  });
}
