import { knows, parseVersionName } from "../messages/known_types.ts";
import type { Clock } from "../lib/clock.ts";
import type { EventStore, Lease, Member } from "../store/port.ts";

/** How long a process counts as alive without renewing, in milliseconds; also the lease duration. */
export const LEASE_TTL = 4_000;

/** Balancing interval while there are leases to take, in milliseconds. */
const LOOK_INTERVAL = 400;

/** The same while there are none. */
const CALM_INTERVAL = 500;

/** The same while there are no other members. */
const ALONE_INTERVAL = 1_000;

/** How long a free lease is left to members below their share, in milliseconds. */
const YIELD_TIME = 1_000;

/** How long to keep a surplus lease that nobody took before offering it again, in milliseconds. */
const KEEP = 30_000;

/** A partition that this process can run, as the balancer sees it. */
export interface Slot {
  /** The lease. */
  readonly lease: string;
  /** Whether this process holds it. */
  readonly held: () => boolean;
  /** Versions of types that its code lacks, like `Deposited@2`: while another process knows one, it is left to that one. */
  readonly lacks: ReadonlySet<string>;
  /** Releases it cleanly, for another process to take. */
  readonly yield: () => void;
}

/**
 * Computes each member's fair share of the leases; the first members by name get the remainder.
 *
 * @param members All members, by name.
 * @param slots The number of leases.
 * @returns The shares, by owner.
 */
export function quotas(members: readonly string[], slots: number): Map<string, number> {
  const [share, rest] = [Math.floor(slots / members.length), slots % members.length];
  return new Map([...members].sort().map((owner, i) => [owner, share + (i < rest ? 1 : 0)]));
}

/** Whether another process knows a type that this process lacks for a slot. */
function isKnownBy(others: readonly Member[], { lacks }: Slot): boolean {
  const versions = [...lacks].map(parseVersionName);
  return versions.some((version) => others.some(({ types }) => knows(new Map(Object.entries(types)), version)));
}

/** Shares the partitions of all groups among the processes that run a domain. */
export class Balancer {
  #store: Pick<EventStore, "enroll" | "leases">;
  #member: Member;
  #clock: Clock;
  #living: () => Promise<Member[]>;
  #slots: Slot[] = [];
  #waiting = new Map<string, (mayTake: boolean) => void>();
  /** Since when a lease is free, and until when a surplus lease is kept. */
  #free = new Map<string, number>();
  #kept = new Map<string, number>();
  #left = false;
  #isAlone = true;

  /**
   * Creates a balancer without slots.
   *
   * @param store The store, which holds membership and leases.
   * @param member This process.
   * @param living Returns the live members; releases the leases of dead ones.
   * @param clock The source of time.
   */
  constructor(
    store: Pick<EventStore, "enroll" | "leases">,
    member: Member,
    living: () => Promise<Member[]>,
    clock: Clock,
  ) {
    this.#store = store;
    this.#member = member;
    this.#living = living;
    this.#clock = clock;
  }

  /** Adds the partitions that this process can run. */
  add(slot: Slot): void {
    this.#slots.push(slot);
  }

  /** Takes out a partition that this process does not run any more. */
  remove(lease: string): void {
    this.#slots = this.#slots.filter((slot) => slot.lease !== lease);
    this.#waiting.get(lease)?.(false);
    this.#waiting.delete(lease);
  }

  /** Registers this process as a member, or renews its membership. */
  async enroll(): Promise<void> {
    if (!this.#left) await this.#store.enroll(this.#member, LEASE_TTL);
  }

  /** Ends its membership, so that others take over its leases. */
  async leave(): Promise<void> {
    this.#left = true;
    await this.#store.enroll(this.#member, 0);
  }

  /** Resolves, after the next balancing round, with whether this process may take a lease. */
  turn(lease: string, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const give = (mayTake: boolean): void => {
        signal.removeEventListener("abort", stop);
        resolve(mayTake);
      };
      const stop = (): void => give(false);
      if (signal.aborted) return stop();
      signal.addEventListener("abort", stop);
      this.#waiting.set(lease, give);
    });
  }

  /**
   * Runs balancing rounds until aborted.
   *
   * @param signal Aborts it.
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        await this.look();
        // Slots that may take a lease wait again if they fail to get it.
        const isCalm = this.#slots.every((slot) => slot.held());
        await this.#clock.sleep(isCalm ? this.#isAlone ? ALONE_INTERVAL : CALM_INTERVAL : LOOK_INTERVAL, signal);
      }
    } finally {
      for (const resolve of this.#waiting.values()) resolve(false);
      this.#waiting.clear();
    }
  }

  /** Runs one round: allows slots to take leases and releases surplus ones. */
  async look(): Promise<void> {
    const { owner } = this.#member;
    const others = (await this.#living()).filter((member) => member.owner !== owner);
    this.#isAlone = others.length === 0;
    const now = this.#clock.elapsed();
    const names = new Set(this.#slots.map((slot) => slot.lease));
    const leases = (await this.#store.leases()).filter((lease) => names.has(lease.name));
    const share = quotas([owner, ...others.map((member) => member.owner)], this.#slots.length);
    const taken = new Map<string, Lease>();
    for (const lease of leases) {
      if (lease.expiresAt > 0 && others.some((member) => member.owner === lease.owner)) taken.set(lease.name, lease);
    }
    this.#giveTurns(others, taken, share.get(owner)!, now);
    this.#giveUp(others, taken, share, now);
  }

  #giveTurns(others: readonly Member[], taken: ReadonlyMap<string, Lease>, quota: number, now: number): void {
    let room = quota - this.#slots.filter((slot) => slot.held() && !this.#isKept(slot, now)).length;
    for (const slot of this.#slots) {
      const resolve = this.#waiting.get(slot.lease);
      if (taken.has(slot.lease) || slot.held()) this.#free.delete(slot.lease);
      else if (!this.#free.has(slot.lease)) this.#free.set(slot.lease, now);
      if (!resolve) continue;
      this.#waiting.delete(slot.lease);
      const mayTake = !taken.has(slot.lease) && !isKnownBy(others, slot);
      if (mayTake && room > 0) {
        room--;
        resolve(true);
      } else if (mayTake && now - (this.#free.get(slot.lease) ?? now) >= YIELD_TIME) {
        this.#kept.set(slot.lease, now + KEEP);
        resolve(true);
      } else resolve(false);
    }
  }

  #giveUp(
    others: readonly Member[],
    taken: ReadonlyMap<string, Lease>,
    share: ReadonlyMap<string, number>,
    now: number,
  ): void {
    let short = 0;
    for (const { owner } of others) {
      const has = [...taken.values()].filter((lease) => lease.owner === owner).length;
      short += Math.max(0, share.get(owner)! - has);
    }
    // What code of another process can go on with is not held by code that has to wait.
    for (const slot of this.#slots) if (slot.held() && isKnownBy(others, slot)) slot.yield();
    const held = this.#slots.filter((slot) => slot.held() && !this.#isKept(slot, now));
    const excess = Math.min(short, held.length - share.get(this.#member.owner)!);
    // Release from the end, because processes that start together take slots in the same order.
    for (const slot of excess > 0 ? held.slice(-excess) : []) slot.yield();
  }

  #isKept(slot: Slot, now: number): boolean {
    return (this.#kept.get(slot.lease) ?? 0) > now;
  }
}
