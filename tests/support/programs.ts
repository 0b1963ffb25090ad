/** Where the programs of the services are; handed to the tests by `tests/run.ts`. */
export interface Programs {
  readonly redisServer: string | null;
  readonly pgbouncer: string | null;
  readonly promtool: string | null;
  readonly chromium: string | null;
  /** The folder of `initdb` and `postgres`. */
  readonly postgres: string | null;
  /** Whom to run PostgreSQL as: it refuses to run as root. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  /** A fresh data folder, to be copied. */
  readonly template: string | null;
}

async function output(command: string, args: string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null;
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await Deno.stat(path).catch(() => null))?.isFile ?? false;
}

/** Finds the programs: on the path, or where Debian puts them. */
export async function findPrograms(): Promise<Omit<Programs, "template">> {
  const redisServer = await output("sh", ["-c", "command -v redis-server || command -v valkey-server"]);
  const folders: string[] = [];
  const onPath = await output("sh", ["-c", 'readlink -f "$(command -v initdb)"']);
  if (onPath) folders.push(onPath.replace(/\/initdb$/, ""));
  const versions = await Array.fromAsync(Deno.readDir("/usr/lib/postgresql")).catch(() => []);
  for (const { name } of versions.sort((a, b) => Number(b.name) - Number(a.name))) {
    folders.push(`/usr/lib/postgresql/${name}/bin`);
  }
  let postgres: string | null = null;
  for (const folder of folders) {
    if (!postgres && await isFile(`${folder}/initdb`) && await isFile(`${folder}/postgres`)) postgres = folder;
  }
  const ids = Deno.uid() === 0 && postgres ? await output("sh", ["-c", "id -u postgres && id -g postgres"]) : null;
  const [uid, gid] = ids?.split("\n").map(Number) ?? [];
  // Not on everybody's path.
  const pgbouncer = await output("sh", ["-c", "PATH=$PATH:/usr/sbin command -v pgbouncer"]);
  const promtool = await output("sh", ["-c", "command -v promtool"]);
  const chromium = await output("sh", ["-c", "command -v chromium || command -v chromium-browser"]);
  return { redisServer, pgbouncer, promtool, chromium, postgres, user: ids ? { uid, gid } : null };
}

/** The packages of Debian that have them. */
const PACKAGES = "redis-server postgresql pgbouncer prometheus chromium";

/** Installs what is missing, where that can be done without asking. */
export async function installPrograms(): Promise<void> {
  if (Deno.uid() !== 0 || await output("sh", ["-c", "command -v apt-get"]) === null) return;
  console.error(`Installing ${PACKAGES.replaceAll(" ", ", ")} for the tests…`);
  const script = `export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get install -y --no-install-recommends ${PACKAGES} ||
    { apt-get update && apt-get install -y --no-install-recommends ${PACKAGES}; }`;
  const { success, stderr } = await new Deno.Command("sh", { args: ["-c", script], stdin: "null" }).output();
  if (!success) console.error(new TextDecoder().decode(stderr));
}
