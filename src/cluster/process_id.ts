import process from "node:process";
import { newId } from "../messages/ids.ts";

function read(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}

/**
 * Identifies this boot of this machine and its PID namespace. Host names are not unique, especially in containers, and
 * each container numbers its processes from 1.
 */
function machine(): string {
  const boot = read("/proc/sys/kernel/random/boot_id")?.slice(0, 8) ?? "";
  let namespace = "";
  try {
    namespace = /\d+/.exec(Deno.readLinkSync("/proc/self/ns/pid"))![0];
  } catch {
    // Not Linux: there is only one namespace.
  }
  return `${Deno.hostname()}/${boot}/${namespace}`;
}

/** The start time of a process, in ticks since boot; empty if unknown, `null` if it has ended. */
function startOf(pid: number): string | null {
  const stat = read(`/proc/${pid}/stat`);
  // After the arbitrary command name come the state and, 19 fields later, the start time.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields) return /[ZX]/.test(fields[0]) ? null : fields[19];
  try {
    process.kill(pid, 0);
    return "";
  } catch (error) {
    return (error as { code?: string }).code === "EPERM" ? "" : null;
  }
}

/**
 * Creates an id of this process that is unique among all machines.
 *
 * @returns Like `host/boot/namespace:pid.start:id`.
 */
export function ownerName(): string {
  return `${machine()}:${Deno.pid}.${startOf(Deno.pid) ?? ""}:${newId()}`;
}

/** Whether the owner of a lease is or was a process of this machine. */
export function isOfThisMachine(owner: string): boolean {
  return owner.split(":")[0] === machine();
}

/** Whether a process is known to have ended; always `false` for other machines. */
export function hasEnded(owner: string): boolean {
  if (!isOfThisMachine(owner)) return false;
  const [pid, start] = owner.split(":")[1].split(".");
  const found = startOf(Number(pid));
  // Another start time means that the process id was reused.
  return found === null || (found !== "" && start !== undefined && start !== "" && found !== start);
}
