import type { Clock } from "../lib/clock.ts";
import type { EventStore, Member } from "../store/port.ts";
import { hasEnded } from "./process_id.ts";

/** How long a process may take to reopen a lost session, in milliseconds. */
const RECONNECTS = 400;

/** How long this process must have had a session before it trusts missing sessions of others, in milliseconds. */
const SETTLED = 2_000;

/** Detects ended processes well before their leases expire, by process id or by database session. */
export class Presence {
  #store: Pick<EventStore, "present" | "leases" | "releaseLease" | "enroll" | "members">;
  #owner: string;
  #clock: Clock;
  #hasEnded: (owner: string) => boolean;
  /** Owners whose session has been seen. */
  #seen = new Set<string>();
  #ownSince = Infinity;

  /**
   * @param store The store, which holds membership and leases.
   * @param owner This process.
   * @param clock The source of time.
   * @param ended Whether a process of this machine has ended.
   */
  constructor(
    store: Pick<EventStore, "present" | "leases" | "releaseLease" | "enroll" | "members">,
    owner: string,
    clock: Clock,
    ended: (owner: string) => boolean = hasEnded,
  ) {
    this.#store = store;
    this.#owner = owner;
    this.#clock = clock;
    this.#hasEnded = ended;
  }

  /**
   * Removes ended processes and releases their leases. A process removed by mistake is fenced and restarts under new
   * leases.
   *
   * @returns The live members, as far as known.
   */
  async bury(): Promise<Member[]> {
    const members = await this.#store.members();
    const owners = members.map(({ owner }) => owner).filter((owner) => owner !== this.#owner);
    const ended = new Set(owners.filter(this.#hasEnded));
    for (const owner of await this.#missing(owners.filter((owner) => !ended.has(owner)))) ended.add(owner);
    // Leases may outlive their owner's membership.
    for (const { name, owner, token, expiresAt } of await this.#store.leases()) {
      if (expiresAt === 0 || owner === this.#owner || !(ended.has(owner) || this.#hasEnded(owner))) continue;
      await this.#store.releaseLease({ lease: name, token }, false);
    }
    for (const member of members) if (ended.has(member.owner)) await this.#store.enroll(member, 0);
    return members.filter(({ owner }) => !ended.has(owner));
  }

  /** Returns the members whose session has been missing for longer than reopening takes. */
  async #missing(owners: readonly string[]): Promise<string[]> {
    if (owners.length === 0 || !this.#store.present) return [];
    const lost = await this.#look(owners);
    if (lost.length === 0) return [];
    await this.#clock.sleep(RECONNECTS);
    const still = await this.#look(lost);
    for (const owner of still) this.#seen.delete(owner);
    return still;
  }

  async #look(owners: readonly string[]): Promise<string[]> {
    const present = new Set(await this.#store.present!([...owners, this.#owner]));
    const now = this.#clock.elapsed();
    for (const owner of present) this.#seen.add(owner);
    // After a PostgreSQL outage, all sessions are missing.
    if (!present.has(this.#owner)) this.#ownSince = Infinity;
    else this.#ownSince = Math.min(this.#ownSince, now);
    if (now - this.#ownSince < SETTLED) return [];
    return owners.filter((owner) => !present.has(owner) && this.#seen.has(owner));
  }
}
