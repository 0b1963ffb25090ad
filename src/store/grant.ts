import type { GrantedLease, LeaseRequest } from "./port.ts";

/** What a store knows of the last grant of a lease. */
export interface LastGrant {
  /** To whom. */
  readonly owner: string;
  /** The token; one more once it was released. */
  readonly token: number;
  /** When it ends; 0 once it was released. */
  readonly expiresAt: number;
  /** Whether it was released cleanly. */
  readonly clean: boolean;
  /** What was said at that grant: 1 if clean, 2 if again, both added. */
  readonly granted: number | null;
}

/**
 * Decides what a grant says of the work before it. PostgreSQL does the same in SQL.
 *
 * A grant whose answer was lost is repeated as it was: nothing has run under it.
 *
 * @param last The last grant; none if it is the first.
 * @param request The request.
 * @param vanished Whether a holder that assumed another number of partitions has vanished.
 */
export function grantOf(
  last: LastGrant | undefined,
  { owner, held }: LeaseRequest,
  vanished: boolean,
): Pick<GrantedLease, "token" | "clean" | "again"> & { readonly granted: number } {
  const isOwn = held !== undefined && last?.owner === owner;
  const isReleased = last?.expiresAt === 0;
  const isUnheard = isOwn && !isReleased && last.token !== held;
  const isKnown = isOwn && held! > 0 && (last.token === held || (isReleased && last.token === held! + 1));
  const said = isUnheard ? last.granted ?? 0 : Number(last?.clean ?? true) + 2 * Number(isKnown);
  const granted = vanished ? 0 : said;
  return { token: (last?.token ?? 0) + 1, clean: (granted & 1) === 1, again: (granted & 2) === 2, granted };
}

/**
 * Returns the name of a partition's lease.
 *
 * @param group The consumer group.
 * @param partition The partition's index.
 * @param partitions The number of partitions.
 * @returns Like `NotificationHandler#0/1`.
 */
export function leaseName(group: string, partition: number, partitions: number): string {
  return `${group}#${partition}/${partitions}`;
}

/** Returns the names of the leases of all partitions. */
export function leaseNames(group: string, partitions: number): string[] {
  return Array.from({ length: partitions }, (_, partition) => leaseName(group, partition, partitions));
}
