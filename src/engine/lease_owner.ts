import process from "node:process";
import type { EventStore } from "../store/port.ts";

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
 * Frees the leases of processes of this machine that are gone, so that nobody has to wait until they run out.
 *
 * @param store The store.
 * @param owner Who asks: `host:pid:id`.
 */
export async function freeLeasesOfTheDead(store: EventStore, owner: string): Promise<void> {
  const [host, pid] = owner.split(":");
  for (const lease of await store.leases()) {
    if (lease.expiresAt === 0 || lease.owner === owner) continue;
    const [otherHost, otherPid] = lease.owner.split(":");
    if (otherHost !== host) continue;
    // The same pid under another id: the number was used again, as in a container.
    if (otherPid !== pid && isAlive(Number(otherPid))) continue;
    await store.releaseLease({ lease: lease.name, token: lease.token }, false);
  }
}
