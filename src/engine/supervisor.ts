import type { Forkable } from "../adapters/open.ts";
import { BrokerUnavailableError } from "../broker/errors.ts";
import type { Broker } from "../broker/port.ts";
import { Balancer, LEASE_TTL } from "../cluster/balancer.ts";
import { Presence } from "../cluster/presence.ts";
import { leaseName } from "../groups/partition.ts";
import type { SubscriptionSettings } from "../groups/settings.ts";
import type { GroupWorker } from "../handling/runner.ts";
import type { Clock } from "../lib/clock.ts";
import { Shared } from "../lib/shared.ts";
import { type DeferredMessage, type EventStore, type Fence, MOST_REPLAYED } from "../store/port.ts";
import type { Group } from "../subscriptions/group.ts";
import type { Report } from "../telemetry/events.ts";
import { type GroupHealth, GroupRunner } from "./group_runner.ts";
import { RelayRunner } from "./relay_runner.ts";
import { Scheduler, SCHEDULER_GROUP } from "../outbox/scheduler.ts";
import { SingleRunner, type SingleWork } from "./single_runner.ts";
import { retryForever } from "./retry.ts";

/** How long a lookup of replayed dead letters is cached, in milliseconds. */
const REPLAYS_KNOWN = 200;

/** How long the last position of the log is cached, for groups that hear nothing from the broker, in milliseconds. */
const LAST_KNOWN = 1_000;

/** Lease renewal interval, in milliseconds. */
const RENEWAL_INTERVAL = 1_000;

/** Polling interval while stopping, in milliseconds. */
const STOP_INTERVAL = 10;

/** How long aborted runners may take to end, in milliseconds. */
const END_PATIENCE = 2_000;

/** How long stopping waits until the others are told, in milliseconds. */
const LEAVE_PATIENCE = 1_000;

/** A partition of a group that this process can run. */
export interface GroupPlan {
  /** The group. */
  readonly group: Group;
  /** The partition. */
  readonly partition: number;
  /** The number of partitions. */
  readonly partitions: number;
  /** The subscription's settings. */
  readonly settings: SubscriptionSettings;
  /** Whether it reads from the broker or the log. */
  readonly feed: "stream" | "event_store";
  /** The worker that runs its handler. */
  readonly worker: GroupWorker;
}

/** Dependencies of a supervisor. */
export interface SupervisorOptions {
  /** The store. */
  readonly store: EventStore & Forkable;
  /** The broker. */
  readonly broker: Broker;
  /** This process, as a member of the cluster. */
  readonly owner: string;
  /** The newest version of each message type that its code knows. */
  readonly types: Readonly<Record<string, number>>;
  /** What there is to run. */
  readonly plans: readonly GroupPlan[];
  /** The domain's categories. */
  readonly categories: readonly string[];
  /** What else one among all processes does. @default {nothing} */
  readonly singles?: readonly SingleWork[];
  /** Whether appends get outbox rows. */
  readonly outbox: boolean;
  /** The source of time and randomness. */
  readonly clock: Clock;
  /** Receives engine events. */
  readonly report: Report;
}

/**
 * Runs the relay and the partitions of all groups, shared with other processes. It has no thread, socket or clock of
 * its own: with in-memory adapters and a manual clock, it runs in virtual time.
 */
export class Supervisor {
  #options: SupervisorOptions;
  #presence: Presence;
  #balancer: Balancer;
  #runners: GroupRunner[] = [];
  #relay: RelayRunner;
  /** What one among all processes does. */
  #singles: readonly SingleRunner[];
  #running: Promise<unknown>[] = [];
  /** Creates the runner of a plan. */
  #create: (plan: GroupPlan) => GroupRunner;
  /** The groups that read each category from the broker. */
  #readers: Map<string, string[]>;
  #stop = new AbortController();
  /** The history that this process follows, and the last message of it that it has seen. */
  #lineage: string | undefined;
  #seen: { readonly position: number; readonly id: string } = { position: 0, id: "" };

  /** @param options Its dependencies. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { store, broker, owner, types, plans, categories, outbox, clock, report } = options;
    const presence = this.#presence = new Presence(store, owner, clock);
    this.#balancer = new Balancer(store, { owner, types }, () => presence.bury(), clock);
    const replays = new Shared(() => store.replayed(), REPLAYS_KNOWN, clock);
    const replaysOf = new Map<string, Shared<DeferredMessage[]>>();
    const replaysFor = (group: string) => {
      const known = replaysOf.get(group) ??
        new Shared(() => store.deferred(group, { replayedOnly: true }), REPLAYS_KNOWN, clock);
      replaysOf.set(group, known);
      return known.get();
    };
    const last = new Shared(() => store.lastPosition(), LAST_KNOWN, clock);
    this.#create = ({ feed, ...plan }) => {
      const runner = new GroupRunner({
        ...plan,
        store,
        broker: feed === "stream" ? broker : null,
        owner,
        outbox,
        replays: async (group) => {
          const all = await replays.get();
          // There are more than these: those of one group must not keep others from being seen.
          if (all.length >= MOST_REPLAYED) return await replaysFor(group);
          return all.filter((deferred) => deferred.group === group);
        },
        last: () => last.get(),
        turn: (lease, signal) => this.#balancer.turn(lease, signal),
        clock,
        report,
      });
      this.#runners.push(runner);
      this.#balancer.add({
        lease: leaseName(plan.group.name, plan.partition, plan.partitions),
        held: () => runner.fence !== undefined,
        lacks: runner.lacks,
        yield: () => runner.yield(),
      });
      return runner;
    };
    for (const plan of plans) this.#create(plan);
    const readers = this.#readers = new Map(categories.map((category): [string, string[]] => {
      const fed = plans.filter(({ feed, group }) => feed === "stream" && group.categories.includes(category));
      return [category, [...new Set(fed.map(({ group }) => group.name))]];
    }));
    this.#relay = new RelayRunner({ store, broker, readers, report, clock }, owner);
    // Its lease is not the relay's, which is given back while the broker is away: timers need no broker.
    const schedule: SingleWork = {
      lease: SCHEDULER_GROUP,
      run: (fence, signal) => new Scheduler({ store, outbox, report, clock, fence }).run(signal),
    };
    this.#singles = [schedule, ...options.singles ?? []].map((work) =>
      new SingleRunner(work, { store, owner, clock, report })
    );
  }

  /** Registers this process as a member and releases the leases of processes that have ended. */
  async join(): Promise<void> {
    await this.#checkLineage();
    await this.#presence.bury();
    await this.#balancer.enroll();
  }

  /** Starts everything; resolves when every group is running or standing by. */
  async start(): Promise<void> {
    const signal = this.#stop.signal;
    this.#running = [
      ...this.#runners.map((runner) => this.#persist(() => runner.run())),
      this.#relay.run(signal),
      ...this.#singles.map((single) => single.run(signal)),
      this.#persist(() => this.#renew(signal)),
      this.#persist(() => this.#balancer.run(signal)),
    ];
    await Promise.all(this.#runners.map((runner) => runner.ready));
  }

  /** Runs one more partition of a group; it reads from the log. */
  add(plan: GroupPlan): void {
    const runner = this.#create({ ...plan, feed: "event_store" });
    if (this.#stop.signal.aborted) runner.stop();
    this.#running.push(this.#persist(() => runner.run()));
  }

  /** Stops a group, in this process and for good. */
  async remove(group: string): Promise<void> {
    const doomed = this.#runners.filter(({ health }) => health.group === group);
    this.#runners = this.#runners.filter((runner) => !doomed.includes(runner));
    // What only it has not read need not be kept for it.
    for (const [category, groups] of this.#readers) {
      this.#readers.set(category, groups.filter((one) => one !== group));
    }
    for (const runner of doomed) {
      runner.stop();
      this.#balancer.remove(runner.lease);
      await runner.stopped;
    }
  }

  #persist(work: () => Promise<void | "again">): Promise<void> {
    const { clock, report } = this.#options;
    return retryForever(work, { clock, report, signal: this.#stop.signal });
  }

  async #renew(signal: AbortSignal): Promise<void | "again"> {
    await this.#options.clock.sleep(RENEWAL_INTERVAL, signal);
    if (signal.aborted) return;
    await this.#renewNow();
    return "again";
  }

  /**
   * Notices that the store's history has forked. Until this process follows the new one, the store refuses its commits:
   * its groups and the relay may know messages, tokens and states that do not exist any more.
   */
  async #checkLineage(): Promise<void> {
    const { store, broker, report } = this.#options;
    if (!store.lineage || !store.follow) return;
    const lineage = await store.lineage();
    if (this.#lineage === undefined) store.follow(this.#lineage = lineage);
    if (lineage !== this.#lineage && lineage !== "") {
      const { position, id } = this.#seen;
      const [there] = await store.readLog({ after: position - 1, limit: 1, largest: 0 });
      const isMissing = position > 0 && there?.id !== id;
      report({ type: "log.forked", seen: position, isMissing, last: await store.lastPosition() });
      // A broker that is away is adopted by the relay, before it publishes anything.
      await broker.adopt(await store.logId()).catch((error) => {
        if (!(error instanceof BrokerUnavailableError)) throw error;
      });
      await this.#relay.restart();
      for (const runner of this.#runners) runner.abandon("unsure", "The database failed over or was recovered");
      this.#lineage = lineage;
      store.follow(lineage);
    }
    const [last] = await store.readLog({ backward: true, limit: 1, largest: 0 });
    if (last) this.#seen = last;
  }

  async #renewNow(): Promise<void> {
    await this.#checkLineage();
    await this.#balancer.enroll();
    const held = this.#runners.flatMap((runner) => runner.fence ? [{ runner, fence: runner.fence }] : []);
    const fences: Fence[] = held.map(({ fence }) => fence);
    for (const { fence } of [this.#relay, ...this.#singles]) if (fence) fences.push(fence);
    if (fences.length === 0) return;
    const lost = await this.#options.store.renewLeases(fences, LEASE_TTL);
    for (const single of this.#singles) if (lost.includes(single.fence?.lease ?? "")) single.abandon();
    for (const { runner, fence } of held) {
      if (!lost.includes(fence.lease) || runner.fence?.token !== fence.token) continue;
      runner.abandon("fenced", "The lease was lost");
    }
  }

  /** The health of all groups. */
  get health(): GroupHealth[] {
    return this.#runners.map((runner) => runner.health);
  }

  /**
   * Stops: finishes in-flight batches and releases the leases.
   *
   * @param patience The timeout, in milliseconds.
   */
  async stop(patience: number): Promise<void> {
    const { clock, report } = this.#options;
    for (const runner of this.#runners) runner.stop();
    const until = clock.elapsed() + patience;
    // Others notice by themselves; a store that does not answer is not waited for.
    const left = this.#balancer.leave().catch(() => {});
    const waited = new AbortController();
    await Promise.race([left, clock.sleep(Math.min(patience, LEAVE_PATIENCE), waited.signal)]);
    waited.abort("done");
    let renewAt = clock.elapsed() + RENEWAL_INTERVAL;
    const busy = () => this.#runners.filter(({ health }) => health.state !== "stopped" && health.state !== "failed");
    while (busy().length > 0 && clock.elapsed() < until) {
      await clock.sleep(STOP_INTERVAL);
      if (clock.elapsed() < renewAt) continue;
      renewAt = Infinity;
      // The store may not answer, or not in time.
      void this.#renewNow().catch(() => {}).then(() => renewAt = clock.elapsed() + RENEWAL_INTERVAL);
    }
    for (const runner of busy()) {
      report({ type: "shutdown.overdue", group: runner.health.group, seconds: patience / 1000 });
      runner.abandon("failed", "The server is stopping");
    }
    this.#stop.abort();
    await Promise.race([Promise.allSettled(this.#running), clock.sleep(END_PATIENCE)]);
  }
}
