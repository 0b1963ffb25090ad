import type { Clock } from "../lib/clock.ts";
import type { EventStore, Member } from "../store/port.ts";
import { hasEnded } from "./process_id.ts";

/** How long a process whose session is missing is given to open it again, in milliseconds. */
const RECONNECTS = 400;

/** How long this process must have had its own session before it judges others by theirs, in milliseconds. */
const SETTLED = 2_000;

/** Tells which processes have ended, long before their leases run out: by process number, or by their sessions. */
export class Presence {
  #store: Pick<EventStore, "present" | "leases" | "releaseLease" | "enroll" | "members">;
  #owner: string;
  #clock: Clock;
  #hasEnded: (owner: string) => boolean;
  /** Whose session was seen. */
  #seen = new Set<string>();
  #ownSince = Infinity;

  /**
   * @param store Where processes find each other.
   * @param owner This process.
   * @param clock Time.
   * @param ended Whether a process has ended, as far as this machine knows.
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
   * Strikes off processes that have ended and gives back their leases. A process that is struck off by mistake is fenced:
   * it starts over under new leases.
   *
   * @returns Who lives, as far as can be told.
   */
  async bury(): Promise<Member[]> {
    const members = await this.#store.members();
    const owners = members.map(({ owner }) => owner).filter((owner) => owner !== this.#owner);
    const ended = new Set(owners.filter(this.#hasEnded));
    for (const owner of await this.#missing(owners.filter((owner) => !ended.has(owner)))) ended.add(owner);
    // Leases outlive their owner's membership.
    for (const { name, owner, token, expiresAt } of await this.#store.leases()) {
      if (expiresAt === 0 || owner === this.#owner || !(ended.has(owner) || this.#hasEnded(owner))) continue;
      await this.#store.releaseLease({ lease: name, token }, false);
    }
    for (const member of members) if (ended.has(member.owner)) await this.#store.enroll(member, 0);
    return members.filter(({ owner }) => !ended.has(owner));
  }

  /** Those whose session was there and is gone, for longer than it takes to open it again. */
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
    const now = this.#clock.now();
    for (const owner of present) this.#seen.add(owner);
    // When PostgreSQL itself was away, everybody's session is missing.
    if (!present.has(this.#owner)) this.#ownSince = Infinity;
    else this.#ownSince = Math.min(this.#ownSince, now);
    if (now - this.#ownSince < SETTLED) return [];
    return owners.filter((owner) => !present.has(owner) && this.#seen.has(owner));
  }
}
