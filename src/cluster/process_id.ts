import process from "node:process";
import { newId } from "../messages/ids.ts";
import type { EventStore } from "../store/port.ts";

/** This machine since it was started: names of machines repeat, in containers above all. */
function machine(): string {
  try {
    return `${Deno.hostname()}/${Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").slice(0, 8)}`;
  } catch {
    return Deno.hostname();
  }
}

/**
 * Names this process among all that may run a domain.
 *
 * @returns Like `host/boot:pid:id`.
 */
export function ownerName(): string {
  return `${machine()}:${Deno.pid}:${newId()}`;
}

/** Whether the owner of a lease is, or was, a process of this machine. */
export function isOfThisMachine(owner: string): boolean {
  return owner.split(":")[0] === machine();
}

/** Whether a process of this machine is alive; one that ended and was not buried yet is not. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
  try {
    return !/\) [ZX] /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    // Not Linux, or not ours to see: the signal got through.
    return true;
  }
}

/**
 * Strikes off processes of this machine that are gone, so that nobody has to wait until their leases run out.
 *
 * @param store The store.
 * @param owner Who asks: `host:pid:id`.
 */
export async function freeLeasesOfTheDead(store: EventStore, owner: string): Promise<void> {
  const [host, pid] = owner.split(":");
  const isDead = (other: string): boolean => {
    const [otherHost, otherPid] = other.split(":");
    if (other === owner || otherHost !== host) return false;
    // The same pid under another id: the number was used again, as in a container.
    return otherPid === pid || !isAlive(Number(otherPid));
  };
  for (const lease of await store.leases()) {
    if (lease.expiresAt === 0 || !isDead(lease.owner)) continue;
    await store.releaseLease({ lease: lease.name, token: lease.token }, false);
  }
  for (const member of await store.members()) if (isDead(member.owner)) await store.enroll(member, 0);
}
