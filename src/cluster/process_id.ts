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
 * This machine since it was started, and the namespace that its process numbers belong to: names of machines repeat, in
 * containers above all, and each container counts from 1.
 */
function machine(): string {
  const boot = read("/proc/sys/kernel/random/boot_id")?.slice(0, 8) ?? "";
  let namespace = "";
  try {
    namespace = /\d+/.exec(Deno.readLinkSync("/proc/self/ns/pid"))![0];
  } catch {
    // Not Linux: one namespace.
  }
  return `${Deno.hostname()}/${boot}/${namespace}`;
}

/** When a process was started, in ticks since the machine was; empty when that cannot be told, `null` when it has ended. */
function startOf(pid: number): string | null {
  const stat = read(`/proc/${pid}/stat`);
  // Behind the name, which may contain anything: the state, and 19 fields later the start.
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
 * Names this process among all that may run a domain.
 *
 * @returns Like `host/boot/namespace:pid.start:id`.
 */
export function ownerName(): string {
  return `${machine()}:${Deno.pid}.${startOf(Deno.pid) ?? ""}:${newId()}`;
}

/** Whether the owner of a lease is, or was, a process of this machine. */
export function isOfThisMachine(owner: string): boolean {
  return owner.split(":")[0] === machine();
}

/** Whether a process has ended for certain; one of another machine may have, or not. */
export function hasEnded(owner: string): boolean {
  if (!isOfThisMachine(owner)) return false;
  const [pid, start] = owner.split(":")[1].split(".");
  const found = startOf(Number(pid));
  // Another start: the number was given again.
  return found === null || (found !== "" && start !== undefined && start !== "" && found !== start);
}
