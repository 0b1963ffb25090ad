import { pidNamespace, readIfAny, startOf } from "../lib/process.ts";
import { newId } from "../messages/ids.ts";

/**
 * Identifies this boot of this machine and its PID namespace. Host names are not unique, especially in containers, and
 * each container numbers its processes from 1.
 */
function machine(): string {
  const boot = readIfAny("/proc/sys/kernel/random/boot_id")?.slice(0, 8) ?? "";
  return `${Deno.hostname()}/${boot}/${pidNamespace()}`;
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
