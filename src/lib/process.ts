import process from "node:process";

/** The text of a file; `null` if it cannot be read. */
export function readIfAny(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}

/** The namespace that the process ids of this process belong to; empty where there is only one. */
export function pidNamespace(): string {
  try {
    return /\d+/.exec(Deno.readLinkSync("/proc/self/ns/pid"))![0];
  } catch {
    // Not Linux.
    return "";
  }
}

/**
 * When a process was started, in clock ticks since boot.
 *
 * @param pid The process.
 * @returns Empty if the start time is unknown; `null` if the process has ended.
 */
export function startOf(pid: number): string | null {
  const stat = readIfAny(`/proc/${pid}/stat`);
  // After the name, which may contain anything: the state, and 19 fields later the start time.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields) return /[ZX]/.test(fields[0]) ? null : fields[19];
  try {
    process.kill(pid, 0);
    return "";
  } catch (error) {
    return (error as { code?: string }).code === "EPERM" ? "" : null;
  }
}
