import type { CategoryRange } from "./behind.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import {
  AppendConditionError,
  FencedError,
  RowConflictError,
  ScheduleChangedError,
  StatementError,
  StoreUnavailableError,
  WrongExpectedVersionError,
} from "./errors.ts";
import { LONGEST_LEASE } from "./membership.ts";
import type {
  Ages,
  Behind,
  CategoryPosition,
  Checkpoint,
  CommandOutcome,
  Commit,
  CommitResult,
  DeadLetter,
  DeadLetterOptions,
  DeferredCount,
  DeferredMessage,
  DeferredOptions,
  DueMessages,
  Ends,
  EventStore,
  Fence,
  Generation,
  GrantedLease,
  Lease,
  LeaseRequest,
  Member,
  ProjectionRow,
  ReadLogOptions,
  ReadStreamOptions,
  RowQuery,
  ScheduledMessage,
  Snapshot,
  StreamAppend,
  Swap,
  SwapRefusal,
  Tagged,
  TaggedMessages,
} from "./port.ts";
import { buildGroup, renamedMark } from "./generations.ts";
import { MemoryRows } from "./memory_rows.ts";
import { MemorySchedule } from "./memory_schedule.ts";
import { MemoryTags } from "./memory_tags.ts";
import { grantOf, type LastGrant, leaseNames } from "./grant.ts";
import { checkpointsOf, MOST_REPLAYED, tagsOf } from "./port.ts";
import { type Clock, clockOf } from "../lib/clock.ts";
import { Notifier } from "../lib/notifier.ts";

/** Settings of {@linkcode MemoryEventStore}. */
export interface MemoryEventStoreOptions {
  /** The source of time. @default {the real one} */
  readonly clock?: Partial<Clock>;
}

function leaveOut(message: MessageRecord, largest: number): MessageRecord {
  return message.data.length > largest ? { ...message, data: "" } : message;
}

/** Returns the index of the first element with a position after `after`. */
function firstAfter(messages: readonly MessageRecord[], after: number): number {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (messages[middle].position <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * An in-memory store, lost when its process exits: the simplest implementation of the port.
 *
 * @example Appending and reading back
 * ```ts
 * import { MemoryEventStore } from "@annals/annals/store/memory";
 *
 * const store = new MemoryEventStore();
 * console.log(await store.lastPosition()); // 0
 * await store.close();
 * ```
 */
export class MemoryEventStore implements EventStore {
  /** Always `memory`. */
  readonly kind = "memory";
  /** Always `true`: the log is lost when this process exits. */
  readonly isVolatile = true;
  /** Always `(this process)`. */
  readonly location = "(this process)";
  #clock: Clock;
  #id: string = crypto.randomUUID();
  #log: MessageRecord[] = [];
  #streams = new Map<string, MessageRecord[]>();
  #categories = new Map<string, MessageRecord[]>();
  #outbox: MessageRecord[] = [];
  #published = 0;
  #checkpoints = new Map<string, Checkpoint>();
  #leases = new Map<string, Omit<Lease, "isHeld"> & LastGrant>();
  #members = new Map<string, { member: Member; expiresAt: number }>();
  #deferred = new Map<string, Map<number, DeferredMessage>>();
  #dead = new Map<string, DeadLetter>();
  #rows = new MemoryRows();
  #outcomes = new Map<string, CommandOutcome & { readonly at: number }>();
  #once = new Map<string, { readonly value: string; readonly at: number }>();
  #schedule = new MemorySchedule();
  #tags = new MemoryTags();
  #snapshots = new Map<string, Snapshot>();
  #signal: Notifier;
  #closed = false;

  /**
   * Creates an empty store.
   *
   * @param options Settings.
   */
  constructor(options: MemoryEventStoreOptions = {}) {
    this.#clock = clockOf(options.clock);
    this.#signal = new Notifier(this.#clock);
  }

  #open(): void {
    if (this.#closed) throw new StoreUnavailableError("Cannot use the memory store: it is closed", "closed", false);
  }

  #checkFence(fence: Fence | undefined): void {
    if (fence && this.#leases.get(fence.lease)?.token !== fence.token) throw new FencedError(fence.lease, fence.token);
  }

  #check(append: StreamAppend, ahead: Map<string, number>): void {
    const actual = ahead.get(append.stream) ?? (this.#streams.get(append.stream)?.length ?? 0) - 1;
    const { expected } = append;
    const fits = expected === "any" ||
      (expected === "none" ? actual < 0 : expected === "exists" ? actual >= 0 : actual === expected);
    if (!fits) throw new WrongExpectedVersionError(append.stream, expected, actual);
    ahead.set(append.stream, actual + append.messages.length);
  }

  #append({ stream, category, messages, publish }: StreamAppend): number {
    const records = this.#streams.get(stream) ?? [];
    const siblings = this.#categories.get(category) ?? [];
    for (const message of messages) {
      const position = this.#log.length + 1;
      const { tags, ...rest } = message;
      const record: MessageRecord = { ...rest, position, stream, category, version: records.length };
      if (tags) this.#tags.add({ position, type: message.type, tags });
      records.push(record);
      siblings.push(record);
      this.#log.push(record);
      if (publish) this.#outbox.push(record);
    }
    if (records.length > 0) {
      this.#streams.set(stream, records);
      this.#categories.set(category, siblings);
    }
    return records.length - 1;
  }

  commit(commit: Commit): Promise<CommitResult> {
    try {
      this.#open();
      this.#checkFence(commit.fence);
      const repeated = commit.once && this.#once.get(commit.once.key)?.value;
      if (repeated !== undefined) return Promise.resolve({ lastPosition: 0, versions: [], repeated });
      const [statement] = commit.statements ?? [];
      if (statement) throw new StatementError(statement.parts.join("?"), "an in-memory store has no SQL");
      if (!this.#schedule.hasAll(commit.release ?? [])) {
        throw new ScheduleChangedError(commit.release!.map(({ key }) => key));
      }
      const { conditions = [] } = commit;
      if (!conditions.every((condition) => this.#tags.holds(condition))) {
        throw new AppendConditionError(tagsOf(conditions));
      }
      if (!this.#rows.areAs(commit.rows ?? [])) throw new RowConflictError();
      const ahead = new Map<string, number>();
      for (const append of commit.appends ?? []) this.#check(append, ahead);
    } catch (error) {
      return Promise.reject(error);
    }
    const before = this.#log.length;
    const versions = (commit.appends ?? []).map((append) => this.#append(append));
    const at = this.#clock.now();
    if (commit.once) this.#once.set(commit.once.key, { value: commit.once.value, at });
    for (const checkpoint of checkpointsOf(commit)) {
      const { group, category, partitions, partition } = checkpoint;
      this.#checkpoints.set(JSON.stringify([group, category, partitions, partition]), checkpoint);
    }
    for (const { group, position } of commit.resume ?? []) this.#deferred.get(group)?.delete(position);
    for (const deferred of commit.defer ?? []) this.#defer(deferred);
    for (const dead of commit.deadLetters ?? []) this.#dead.set(dead.id, dead);
    for (const row of commit.rows ?? []) this.#rows.write(row);
    for (const outcome of commit.outcomes ?? []) this.#outcomes.set(outcome.commandId, { ...outcome, at });
    this.#schedule.change(commit, at);
    for (const tagging of commit.tag ?? []) this.#tags.add(tagging);
    this.#signal.notify();
    return Promise.resolve({
      lastPosition: this.#log.length > before ? this.#log.length : 0,
      versions,
      repeated: null,
    });
  }

  #defer(deferred: DeferredMessage): void {
    const group = this.#deferred.get(deferred.group) ?? new Map<number, DeferredMessage>();
    this.#deferred.set(deferred.group, group.set(deferred.position, deferred));
  }

  async readStream(stream: string, options: ReadStreamOptions = {}): Promise<MessageRecord[]> {
    this.#open();
    const { backward = false, limit = Infinity, largest = Infinity } = options;
    const all = this.#streams.get(stream) ?? [];
    const from = options.from ?? (backward ? all.length - 1 : 0);
    const to = options.to ?? (backward ? 0 : all.length - 1);
    const found = backward ? all.slice(Math.max(0, to), from + 1).reverse() : all.slice(from, to + 1);
    const page = limit < found.length ? found.slice(0, limit) : found;
    return largest === Infinity ? page : page.map((message) => leaveOut(message, largest));
  }

  async readLog(options: ReadLogOptions = {}): Promise<MessageRecord[]> {
    this.#open();
    const { after = 0, upTo = Infinity, limit = 1000, category, type, correlationId, since = 0, backward = false } =
      options;
    const { id, largest = Infinity } = options;
    const from = category === undefined ? this.#log : this.#categories.get(category) ?? [];
    const found: MessageRecord[] = [];
    const [low, high] = [firstAfter(from, after), firstAfter(from, upTo)];
    for (let i = low; i < high && found.length < limit; i++) {
      const message = from[backward ? high - 1 - (i - low) : i];
      if (type !== undefined && message.type !== type) continue;
      if (correlationId !== undefined && message.correlationId !== correlationId) continue;
      if (id !== undefined && message.id !== id) continue;
      if (message.time >= since) found.push(leaveOut(message, largest));
    }
    return found;
  }

  async readAt(
    positions: readonly number[],
    { largest = Infinity }: { largest?: number } = {},
  ): Promise<MessageRecord[]> {
    this.#open();
    return [...new Set(positions)].sort((a, b) => a - b).flatMap((position) => {
      const message = this.#log[position - 1];
      return message ? [leaveOut(message, largest)] : [];
    });
  }

  async readTagged(
    among: readonly Tagged[],
    { after = 0, upTo = Infinity, limit = Infinity }: { after?: number; upTo?: number; limit?: number } = {},
  ): Promise<TaggedMessages> {
    this.#open();
    const positions = this.#tags.find(among, after).filter((position) => position <= upTo);
    const messages = positions.slice(0, limit).map((position) => this.#log[position - 1]);
    return { messages, last: this.#log.length };
  }

  async lastPosition(): Promise<number> {
    this.#open();
    return this.#log.length;
  }

  changed(timeout: number, signal?: AbortSignal): Promise<void> {
    return this.#signal.wait(timeout, signal);
  }

  async logId(): Promise<string> {
    this.#open();
    return this.#id;
  }

  async markPublished(position: number, fence?: Fence): Promise<void> {
    this.#open();
    this.#checkFence(fence);
    this.#outbox.splice(0, firstAfter(this.#outbox, position));
    this.#published = Math.max(this.#published, position);
  }

  async published(): Promise<number> {
    this.#open();
    return this.#published;
  }

  async outboxStatus(): Promise<{ waiting: number; oldest: number | null; published: number }> {
    this.#open();
    return { waiting: this.#outbox.length, oldest: this.#outbox[0]?.time ?? null, published: this.#published };
  }

  async checkpoints(group?: string, category?: string): Promise<Checkpoint[]> {
    this.#open();
    return [...this.#checkpoints.values()].filter((checkpoint) =>
      (group === undefined || checkpoint.group === group) &&
      (category === undefined || checkpoint.category === category)
    );
  }

  async acquireLease(request: LeaseRequest): Promise<GrantedLease | null> {
    this.#open();
    const { name, group, partitions, owner, ttl } = request;
    const now = this.#clock.now();
    for (const lease of this.#leases.values()) {
      const taken = (lease.name === name && lease.owner !== owner) ||
        (lease.group === group && lease.partitions !== partitions);
      if (taken && lease.expiresAt > now) return null;
    }
    const last = this.#leases.get(name);
    let vanished = false;
    // Fence holders that assume another number of partitions.
    for (const lease of this.#leases.values()) {
      if (lease.group !== group || lease.partitions === partitions || lease.clean) continue;
      vanished = true;
      this.#leases.set(lease.name, { ...lease, token: lease.token + 1, expiresAt: 0, clean: true, owner: "" });
    }
    const { token, clean, again, granted } = grantOf(last, request, vanished);
    // What may have been in flight there is now anybody's.
    for (const sibling of vanished ? leaseNames(group, partitions) : []) {
      const { ends = null, ...known } = this.#leases.get(sibling) ?? { token: 0 };
      const unheld = { owner: "", expiresAt: 0, granted: null, ...known, name: sibling, group, partitions, ends };
      this.#leases.set(sibling, { ...unheld, owner: "", clean: false });
    }
    const ends = last?.ends ?? null;
    this.#leases.set(name, {
      name,
      group,
      partitions,
      owner,
      token,
      expiresAt: now + ttl,
      clean: false,
      granted,
      ends,
    });
    return { token, clean, again, ends };
  }

  async enroll(member: Member, ttl: number): Promise<void> {
    this.#open();
    if (ttl === 0) return void this.#members.delete(member.owner);
    const now = this.#clock.now();
    this.#members.set(member.owner, { member, expiresAt: now + ttl });
    for (const [owner, other] of this.#members) {
      if (other.expiresAt <= now) this.#members.delete(owner);
      else if (other.expiresAt > now + LONGEST_LEASE) this.#members.set(owner, { ...other, expiresAt: now + ttl });
    }
    for (const [name, lease] of this.#leases) {
      if (lease.expiresAt > now + LONGEST_LEASE) this.#leases.set(name, { ...lease, expiresAt: now + LONGEST_LEASE });
    }
  }

  async members(): Promise<Member[]> {
    this.#open();
    const now = this.#clock.now();
    return [...this.#members.values()].filter(({ expiresAt }) => expiresAt > now).map(({ member }) => member)
      .sort((a, b) => a.owner < b.owner ? -1 : 1);
  }

  async renewLeases(leases: readonly Fence[], ttl: number): Promise<string[]> {
    this.#open();
    const lost: string[] = [];
    for (const { lease, token } of leases) {
      const held = this.#leases.get(lease);
      if (held?.token !== token || held.expiresAt === 0) lost.push(lease);
      else this.#leases.set(lease, { ...held, expiresAt: this.#clock.now() + ttl });
    }
    return lost;
  }

  async releaseLease(fence: Fence, clean: boolean): Promise<void> {
    this.#open();
    const held = this.#leases.get(fence.lease);
    // Increment the token, so that the previous holder is fenced from here on.
    if (held?.token === fence.token) {
      this.#leases.set(fence.lease, { ...held, token: held.token + 1, expiresAt: 0, clean });
    }
    this.#signal.notify();
  }

  async recordEnds({ lease, token }: Fence, ends: Ends | null): Promise<void> {
    this.#open();
    const held = this.#leases.get(lease);
    if (held?.token === token) this.#leases.set(lease, { ...held, ends });
  }

  async leases(): Promise<Lease[]> {
    this.#open();
    const now = this.#clock.now();
    return [...this.#leases.values()].filter(({ token }) => token > 0).map(({ clean: _, granted: __, ...lease }) => ({
      ...lease,
      isHeld: lease.expiresAt > now,
    }));
  }

  async deferred(group: string, options: DeferredOptions = {}): Promise<DeferredMessage[]> {
    this.#open();
    const { category, replayedOnly, after = 0, limit } = options;
    return [...this.#deferred.get(group)?.values() ?? []]
      .filter((deferred) => deferred.position > after && (category === undefined || deferred.category === category))
      .filter((deferred) => !replayedOnly || deferred.replayed)
      .sort((a, b) => a.position - b.position)
      .slice(0, limit);
  }

  async countDeferred(): Promise<DeferredCount[]> {
    this.#open();
    const counts = new Map<string, DeferredCount>();
    for (const deferred of this.#deferred.values()) {
      for (const { group, awaits, attempts } of deferred.values()) {
        const isTried = attempts > 0;
        const kind = JSON.stringify([group, awaits, isTried]);
        counts.set(kind, { group, awaits, isTried, count: (counts.get(kind)?.count ?? 0) + 1 });
      }
    }
    return [...counts.values()];
  }

  async replayed(): Promise<DeferredMessage[]> {
    this.#open();
    return [...this.#deferred.values()].flatMap((deferred) => [...deferred.values()])
      .filter((deferred) => deferred.replayed)
      .sort((a, b) => a.position - b.position)
      .slice(0, MOST_REPLAYED);
  }

  async lag(category: string, after: number): Promise<Behind> {
    this.#open();
    const messages = this.#categories.get(category) ?? [];
    const first = firstAfter(messages, after);
    return { messages: messages.length - first, oldest: messages[first]?.time ?? null };
  }

  async lags(positions: readonly CategoryPosition[]): Promise<Behind[]> {
    return await Promise.all(positions.map(({ category, after }) => this.lag(category, after)));
  }

  async readSnapshot(stream: string, fingerprint: string): Promise<Snapshot | null> {
    this.#open();
    const found = this.#snapshots.get(stream);
    return found?.fingerprint === fingerprint ? found : null;
  }

  async writeSnapshots(snapshots: readonly Snapshot[]): Promise<void> {
    this.#open();
    for (const snapshot of snapshots) {
      const before = this.#snapshots.get(snapshot.stream);
      if (before?.fingerprint === snapshot.fingerprint && before.version > snapshot.version) continue;
      this.#snapshots.set(snapshot.stream, snapshot);
    }
  }

  async due(limit: number): Promise<DueMessages> {
    this.#open();
    return this.#schedule.due(limit, this.#clock.now());
  }

  async scheduled(options: { key?: string; after?: string; limit?: number } = {}): Promise<ScheduledMessage[]> {
    this.#open();
    return this.#schedule.list(options);
  }

  async tidy({ outcomes, keys }: Ages, limit: number): Promise<number> {
    this.#open();
    const now = this.#clock.now();
    const scheduled = new Set(this.#schedule.list({}).map(({ message }) => message.id));
    const old = [...this.#outcomes].filter(([, { at }]) => at < now - outcomes).slice(0, limit);
    for (const [id] of old) this.#outcomes.delete(id);
    const dead = [...this.#once].filter(([key, { at, value }]) =>
      key.startsWith(keys.of) && at < now - keys.age && !scheduled.has(JSON.parse(value).id)
    ).slice(0, limit);
    for (const [key] of dead) this.#once.delete(key);
    return Math.max(old.length, dead.length);
  }

  async onceKeys(options: { after?: string; limit?: number } = {}): Promise<{ key: string; value: string }[]> {
    this.#open();
    const { after = "", limit } = options;
    const found = [...this.#once].filter(([key]) => key > after).map(([key, { value }]) => ({ key, value }));
    return found.sort((a, b) => a.key < b.key ? -1 : 1).slice(0, limit);
  }

  async deadLetters({ group, limit, before, largest = Infinity }: DeadLetterOptions = {}): Promise<DeadLetter[]> {
    this.#open();
    return [...this.#dead.values()]
      .filter((dead) => (group === undefined || dead.group === group) && (before === undefined || dead.id < before))
      .sort((a, b) => (a.id < b.id ? 1 : -1))
      .slice(0, limit)
      .map((dead) => ({ ...dead, message: leaveOut(dead.message, largest) }));
  }

  async deadLetter(id: string): Promise<DeadLetter | null> {
    this.#open();
    return this.#dead.get(id) ?? null;
  }

  async countDeadLetters(): Promise<Record<string, number>> {
    this.#open();
    const counts: Record<string, number> = {};
    for (const { group } of this.#dead.values()) counts[group] = (counts[group] ?? 0) + 1;
    return counts;
  }

  async replayDeadLetters(ids: readonly string[]): Promise<number> {
    this.#open();
    let replayed = 0;
    for (const id of ids) {
      const dead = this.#dead.get(id);
      if (!dead) continue;
      const { group, message: { category, stream, position } } = dead;
      this.#defer({
        group,
        category,
        stream,
        position,
        attempts: 0,
        dueAt: 0,
        failures: [],
        replayed: true,
        awaits: null,
      });
      this.#dead.delete(id);
      replayed++;
    }
    this.#signal.notify();
    return replayed;
  }

  async purgeDeadLetters({ group, ids }: { group?: string; ids?: readonly string[] }): Promise<number> {
    this.#open();
    const doomed = [...this.#dead.values()].filter((dead) =>
      (group === undefined || dead.group === group) && (ids === undefined || ids.includes(dead.id))
    );
    for (const { id } of doomed) this.#dead.delete(id);
    return doomed.length;
  }

  async readRow(projection: string, key: string): Promise<ProjectionRow | null> {
    this.#open();
    return this.#rows.read(projection, key);
  }

  async readRows(projection: string, keys: readonly string[]): Promise<ProjectionRow[]> {
    this.#open();
    return keys.map((key) => this.#rows.read(projection, key)).filter((row) => row !== null);
  }

  async listRows(projection: string, options: { after?: string; limit?: number } = {}): Promise<ProjectionRow[]> {
    this.#open();
    return this.#rows.list(projection, options);
  }

  async queryRows(query: RowQuery): Promise<ProjectionRow[]> {
    this.#open();
    return this.#rows.query(query);
  }

  async projections(): Promise<string[]> {
    this.#open();
    return this.#rows.projections;
  }

  async countRows(query: Pick<RowQuery, "projection" | "where">): Promise<number> {
    this.#open();
    return this.#rows.query({ ...query, orderBy: [], limit: Infinity }).length;
  }

  async generations(): Promise<Generation[]> {
    this.#open();
    return this.#rows.generations;
  }

  async addGeneration(generation: Generation): Promise<boolean> {
    this.#open();
    const isAdded = this.#rows.add(generation);
    this.#signal.notify();
    return isAdded;
  }

  async markGeneration(
    generation: Pick<Generation, "projection" | "generation" | "state" | "error">,
    from: Generation["state"],
  ): Promise<boolean> {
    this.#open();
    const isMarked = this.#rows.mark(generation, from);
    this.#signal.notify();
    return isMarked;
  }

  async swapGenerations(swap: Swap): Promise<SwapRefusal | null> {
    this.#open();
    const held = (group: string) =>
      (this.#deferred.get(group)?.size ?? 0) + [...this.#dead.values()].filter((dead) => dead.group === group).length;
    const hasMessages = ({ category, after, upTo }: CategoryRange) => {
      const messages = this.#categories.get(category) ?? [];
      return (messages[firstAfter(messages, after)]?.position ?? Infinity) <= upTo;
    };
    const known = { checkpoints: [...this.#checkpoints.values()], held, hasMessages };
    const refusal = this.#rows.swap(swap, known, this.#clock.now());
    this.#signal.notify();
    return refusal;
  }

  async clearGeneration(projection: string, generation: string, limit: number): Promise<number> {
    this.#open();
    if (this.#rows.isDropped(projection, generation)) this.#fence(buildGroup(projection, generation));
    const { deleted, group } = this.#rows.clear(projection, generation, limit);
    if (group !== undefined) this.#forget(group);
    return deleted;
  }

  /** Deletes all that is known of a group. */
  #forget(group: string): void {
    for (const [name, checkpoint] of this.#checkpoints) if (checkpoint.group === group) this.#checkpoints.delete(name);
    this.#fence(group);
    for (const [id, dead] of this.#dead) if (dead.group === group) this.#dead.delete(id);
    this.#deferred.delete(group);
  }

  /** Whoever works for a group has lost its leases. */
  #fence(group: string): void {
    for (const [name, lease] of this.#leases) {
      if (lease.group !== group) continue;
      this.#leases.set(name, { ...lease, token: lease.token + 1, expiresAt: 0, clean: true, owner: "" });
    }
  }

  async renameGroup(from: string, to: string): Promise<"renamed" | "held" | "absent"> {
    this.#open();
    const checkpoints = [...this.#checkpoints.values()];
    const has = (group: string) => checkpoints.some((checkpoint) => checkpoint.group === group);
    if (!has(from) || has(to)) return "absent";
    const now = this.#clock.now();
    const groups = [from, ...this.#rows.buildsOf(from)];
    if ([...this.#leases.values()].some(({ group, expiresAt }) => groups.includes(group) && expiresAt > now)) {
      return "held";
    }
    for (const group of groups) this.#fence(group);
    const mark = renamedMark(from);
    this.#checkpoints.set(JSON.stringify([mark.group, from, 1, 0]), mark);
    this.#checkpoints.delete(JSON.stringify([mark.group, to, 1, 0]));
    const dead = [...this.#dead.values()].filter(({ group }) => group === from);
    const deferred = [...this.#deferred.get(from)?.values() ?? []];
    this.#forget(from);
    for (const checkpoint of checkpoints.filter(({ group }) => group === from)) {
      const { category, partitions, partition } = checkpoint;
      this.#checkpoints.set(JSON.stringify([to, category, partitions, partition]), { ...checkpoint, group: to });
    }
    for (const one of dead) this.#dead.set(one.id, { ...one, group: to });
    for (const one of deferred) this.#defer({ ...one, group: to });
    this.#rows.rename(from, to);
    this.#signal.notify();
    return "renamed";
  }

  async keepIndexes(): Promise<void> {
    // All rows are read anyway.
  }

  async outcome(commandId: string): Promise<CommandOutcome | null> {
    this.#open();
    const { at: _, ...outcome } = this.#outcomes.get(commandId) ?? { at: 0 };
    return "commandId" in outcome ? outcome as CommandOutcome : null;
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#signal.notify();
    return Promise.resolve();
  }
}
