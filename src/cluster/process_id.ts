import { pidNamespace, readIfAny, startOf } from "../lib/process.ts";
import { newId } from "../messages/ids.ts";

/**
 * This machine since it was started, and the namespace that its process numbers belong to: names of machines repeat, in
 * containers above all, and each container counts from 1.
 */
function machine(): string {
  const boot = readIfAny("/proc/sys/kernel/random/boot_id")?.slice(0, 8) ?? "";
  return `${Deno.hostname()}/${boot}/${pidNamespace()}`;
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
