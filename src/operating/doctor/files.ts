import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { locate } from "../../adapters/open.ts";
import { check, fileOf, type Finding, type Patient } from "./finding.ts";

const MB = 1_000_000;

/** Less free space than this is an error or a warning, in bytes. */
const FULL = 100 * MB;
const LITTLE = 1_000 * MB;

/** A write-ahead log of more bytes is not emptied any more. */
const LONG_WAL = 256 * MB;

/** File systems over a network, by their magic numbers: what one machine locks there, another does not see. */
const NETWORK: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0x517b: "SMB",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB2",
  0x01021997: "9p",
};

/** The part of `statfs` that matters. */
export interface FileSystem {
  /** Its kind. */
  readonly type: number;
  /** The size of a block, in bytes. */
  readonly bsize: number;
  /** How many blocks there are, and how many of them this user may still use. */
  readonly blocks: number;
  /** How many blocks this user may still use. */
  readonly bavail: number;
  /** How many files it can have; 0 if there is no bound. */
  readonly files: number;
  /** How many more files it can have. */
  readonly ffree: number;
}

/** Says whether there is room where files are. */
export function examineSpace({ bsize, bavail, blocks, files, ffree }: FileSystem, folder: string): Finding[] {
  const free = bsize * bavail;
  const findings: Finding[] = [];
  if (free < LITTLE) {
    const percent = blocks === 0 ? 0 : Math.round(100 * bavail / blocks);
    findings.push({
      severity: free < FULL ? "error" : "warning",
      what: `Only ${Math.round(free / MB)} MB are free (${percent}%); when the disk is full, nothing can be stored`,
      where: folder,
      todo: `free some: du -xh ${folder} | sort -h | tail`,
    });
  }
  if (files > 0 && ffree < 100) {
    const todo = "delete files that nobody needs; df -i shows where";
    findings.push({
      severity: "error",
      what: `No more files can be made (${ffree} inodes are free)`,
      where: folder,
      todo,
    });
  }
  return findings;
}

/** The files of SQLite that a server uses, each once. */
export function sqliteFiles({ config, name }: Pick<Patient, "config" | "name">): string[] {
  if (name === null) return [];
  const [store, broker] = [locate(config.store, name), locate(config.broker, name)];
  return [
    ...store.provider === "sqlite" ? [store.url] : [],
    ...broker.provider === "sqlite" ? [`${broker.url}-broker`] : [],
  ];
}

/**
 * Whether this user may do something with a file or folder, told by `test` and its `-r`, `-w` and `-x`: `access()` of Deno
 * compares mode bits only, without root, further groups and access control lists. To open a file of SQLite and close it
 * again would drop the locks of this process.
 */
function mayAccess(path: string, ...how: readonly ("-r" | "-w" | "-x")[]): boolean {
  try {
    return how.every((flag) => new Deno.Command("test", { args: [flag, path], stderr: "null" }).outputSync().success);
  } catch {
    // Windows, and images without programs: nothing is claimed that is not known.
    return true;
  }
}

/**
 * Says what is wrong with a file of SQLite.
 *
 * @param path The file.
 * @param longest A write-ahead log of more bytes is long. @default {256 MB}
 */
export function examineDatabase(path: string, longest: number = LONG_WAL): Finding[] {
  const { mode, size } = Deno.statSync(path);
  const findings: Finding[] = [];
  if (Deno.build.os !== "windows" && ((mode ?? 0) & 0o077) !== 0) {
    findings.push({
      severity: "warning",
      what: `Other users of this machine may read it (mode ${
        ((mode ?? 0) & 0o777).toString(8)
      }): all messages are in it`,
      where: path,
      todo: `chmod 600 ${path} ${path}-*`,
    });
  }
  if (!mayAccess(path, "-r", "-w")) {
    const todo = `run as the user of the server, or: chown $USER ${path}*`;
    findings.push({ severity: "error", what: "This user may not write the file", where: path, todo });
  }
  const wal = `${path}-wal`;
  const length = existsSync(wal) ? Deno.statSync(wal).size : 0;
  if (length > longest) {
    findings.push({
      severity: "warning",
      what: `The write-ahead log has ${Math.round(length / MB)} MB (the file itself ${Math.round(size / MB)} MB): ` +
        "something reads for long, and it cannot be emptied meanwhile",
      where: wal,
      todo: `find out who has the file open, and end what hangs: fuser -v ${path}`,
    });
  }
  return findings;
}

/** The folder that a file is in, or will be in: the first one up from it that there is. */
function folderOf(path: string): string {
  let folder = dirname(path);
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

async function examineFolder(folder: string, isData: boolean): Promise<Finding[]> {
  const system = await statfs(folder);
  const findings = examineSpace(system, folder);
  if (!mayAccess(folder, "-w", "-x")) {
    const todo = `chown $USER ${folder}, or run as the user it belongs to`;
    findings.push({ severity: "error", what: "This user may not make files here", where: folder, todo });
  }
  const network = isData ? NETWORK[system.type] : undefined;
  if (network !== undefined) {
    findings.push({
      severity: "error",
      what:
        `It is on a file system over the network (${network}): locks do not hold there, and files of SQLite get damaged`,
      where: folder,
      todo: "use a local disk, or PostgreSQL (docs/deploy.md)",
    });
  }
  return findings;
}

/** Disk space and permissions where a server keeps files. */
export const FILES = check("files", [], async (patient) => {
  const files = sqliteFiles(patient);
  const folders = new Set(files.map(folderOf));
  const findings: Finding[] = [];
  for (const folder of folders) findings.push(...await examineFolder(folder, true));
  // Hosts connect to the engine through a socket there.
  const temporary = tmpdir();
  if (!folders.has(temporary)) findings.push(...await examineFolder(temporary, false));
  for (const file of files.filter((path) => existsSync(path))) findings.push(...examineDatabase(file));
  return findings;
});

/** A secret that is written into the file itself, and not taken from a variable. */
const SECRET = /whsec_[A-Za-z0-9+/]{20}|:\/\/[^\s"'/:@$]+:[^\s"'@${}]+@|^\s*(token|password)\s*=\s*"[^"$]+"/m;

/** Whether secrets in the configuration's file can be read by everyone. */
export const SECRETS = check("secrets", [], ({ config }) => {
  const { file } = config;
  if (file === null || !existsSync(file) || Deno.build.os === "windows") return Promise.resolve([]);
  const mode = Deno.statSync(file).mode ?? 0;
  if ((mode & 0o004) === 0 || !SECRET.test(Deno.readTextFileSync(file))) return Promise.resolve([]);
  return Promise.resolve([{
    severity: "warning",
    what: `It has secrets, and all users of this machine may read it (mode ${(mode & 0o777).toString(8)})`,
    where: fileOf(config),
    todo: `take secrets from the environment, like "\${DATABASE_URL}", or: chmod 600 ${file}`,
  }]);
});
