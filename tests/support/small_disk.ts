import { programs } from "./services.ts";

/** A file system of a few megabytes. */
export interface SmallDisk extends AsyncDisposable {
  /** A folder on it that belongs to PostgreSQL. */
  readonly folder: string;
  /** Leaves no byte free. */
  fill(): Promise<void>;
  /** Gives back what was filled. */
  free(): Promise<void>;
}

/** Mounts one, where that is allowed; says so where it is not, and answers `null`. */
export async function smallDisk(): Promise<SmallDisk | null> {
  const { user } = programs();
  const root = await Deno.makeTempDir({ prefix: "annals-disk-" });
  const run = async (command: string, ...args: string[]): Promise<boolean> =>
    (await new Deno.Command(command, { args, stderr: "null", stdout: "null" }).output().catch(() => null))?.success ??
      false;
  if (!user || !await run("mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", root)) {
    await Deno.remove(root);
    console.error("A full disk is not tested: mounting a small one takes root and CAP_SYS_ADMIN");
    return null;
  }
  const folder = `${root}/data`;
  await Deno.mkdir(folder);
  await Deno.chown(folder, user.uid, user.gid);
  const filler = `${root}/filler`;
  return {
    folder,
    fill: async () => {
      using file = await Deno.open(filler, { write: true, create: true });
      const zeros = new Uint8Array(4096);
      try {
        while (true) await file.write(zeros);
      } catch {
        // Full.
      }
    },
    free: () => Deno.remove(filler),
    [Symbol.asyncDispose]: async () => {
      await run("umount", "-l", root);
      await Deno.remove(root, { recursive: true });
    },
  };
}
