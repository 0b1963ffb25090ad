import { resolve } from "node:path";
import { type Inspectable, locate, openBroker, openStore, type Publishing, type Wakeable } from "../adapters/open.ts";
import { listen, socketPath } from "../adapters/socket.ts";
import type { Broker } from "../broker/port.ts";
import type { Config } from "../config/config.ts";
import { leaseName } from "../groups/partition.ts";
import { Capability } from "../isolation/capability.ts";
import type { HostPool } from "../isolation/host_pool.ts";
import { environmentOf, explainLoad, inspect, poolFor } from "../isolation/inspect.ts";
import { ungranted, workerPermissions } from "../isolation/permissions.ts";
import type { DomainDescription, HandlerDescription, Level } from "../isolation/protocol.ts";
import { type Placement, placeWorkers } from "./placement.ts";
import { type Clock, REAL_CLOCK } from "../lib/clock.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { Shared } from "../lib/shared.ts";
import { dropCopiesOfAnotherTime } from "../outbox/copies.ts";
import { CHECKPOINTED, startWalCheckpointer } from "../sqlite/wal_checkpointer.ts";
import type { EventStore, Fence } from "../store/port.ts";
import { announceAdapters, announceSubscriptions, kindOf } from "./announce.ts";
import { EngineStartError } from "./errors.ts";
import { type GroupHealth, GroupRunner } from "./group_runner.ts";
import { Presence } from "../cluster/presence.ts";
import { ownerName } from "../cluster/process_id.ts";
import { retryForever, retryUntilUp, type Say } from "./retry.ts";
import { RelayRunner } from "./relay_runner.ts";
import { Balancer, LEASE_TTL } from "../cluster/balancer.ts";

/** Settings of {@linkcode Engine}. */
export interface EngineOptions {
  /** The domain's module: a URL. */
  readonly module: string;
  /** The configuration. */
  readonly config: Config;
  /** Whether a store in memory is served to clients of this machine, by a socket in the data folder. @default {false} */
  readonly socket?: boolean;
  /** Whether to make or update the tables of the store. @default {true} */
  readonly migrate?: boolean;
  /** Where the lines of the start go. @default {nowhere} */
  readonly print?: (line: string) => void;
  /** Time and chance. @default {the real ones} */
  readonly clock?: Clock;
  /** Where log lines go: group (empty for the engine's own), level, text. @default {nowhere} */
  readonly log?: (group: string, level: Level, text: string, fields?: Record<string, unknown>) => void;
}

/** For how long replays that were looked for once are known, in milliseconds. */
const REPLAYS_KNOWN = 200;

/** How often leases are renewed, in milliseconds. */
const RENEWAL_INTERVAL = 1_000;

/**
 * Runs a domain: the relay, and the subscriptions of all consumer groups. The domain's code runs in hosts, processes of
 * their own that have no way to the store or the broker.
 *
 * @example Running a domain from a program of your own
 * ```ts ignore
 * import { Engine } from "@annals/annals/engine";
 * import { loadConfig } from "@annals/annals/config";
 *
 * const engine = new Engine({ module: import.meta.resolve("./domain.ts"), config: loadConfig() });
 * await engine.start();
 * await engine.stop();
 * ```
 */
export class Engine {
  #options: EngineOptions;
  #config: Config;
  #clock: Clock;
  #log: NonNullable<EngineOptions["log"]>;
  #owner = ownerName();
  #pool: HostPool | undefined;
  #store!: EventStore & Wakeable & Publishing & Inspectable;
  #broker!: Broker & Wakeable & Inspectable;
  #balancer!: Balancer;
  #runners: GroupRunner[] = [];
  #running: Promise<unknown>[] = [];
  #relay!: RelayRunner;
  #say: Say = (level, text) => this.#log("", level, text);
  #closeSocket: () => void = () => {};
  #stopCheckpointer: () => Promise<void> = () => Promise.resolve();
  #stop = new AbortController();
  #stopWaiting = new AbortController();
  #stopping: Promise<void> | undefined;

  /**
   * Makes an engine that does not run yet.
   *
   * @param options Which domain, and how.
   */
  constructor(options: EngineOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#clock = options.clock ?? REAL_CLOCK;
    this.#log = options.log ?? (() => {});
  }

  /**
   * Asks the domain what it contains; its code runs in a host, which is ended again.
   *
   * @returns What would run.
   * @throws {EngineStartError} When the domain cannot be loaded, or asks for what was not granted.
   */
  async describe(): Promise<DomainDescription> {
    const pool = poolFor(this.#options.module, this.#config, this.#log);
    try {
      return await this.#describe(pool);
    } finally {
      await pool.stop();
    }
  }

  async #describe(pool: HostPool): Promise<DomainDescription> {
    const { module } = this.#options;
    let domain: DomainDescription;
    try {
      domain = await inspect(pool, module, this.#config);
    } catch (error) {
      throw new EngineStartError(explainLoad(module, error));
    }
    const names = domain.handlers.map((handler) => handler.name);
    for (const { group, key } of this.#config.namedGroups) {
      if (names.includes(group)) continue;
      throw new EngineStartError(
        `${this.#config.file}: ${key}: domain "${domain.name}" has no handler "${group}"${didYouMean(group, names)}`,
        true,
      );
    }
    const categories = [...new Set(domain.handlers.flatMap((handler) => handler.categories))];
    for (const { category, key } of this.#config.namedCategories) {
      if (categories.includes(category)) continue;
      throw new EngineStartError(
        `${this.#config.file}: ${key}: no handler of domain "${domain.name}" reads it${
          didYouMean(category, categories)
        }`,
        true,
      );
    }
    const missing = ungranted(domain, this.#config.grants, (path) => resolve(this.#config.folder, path));
    if (missing !== null) {
      throw new EngineStartError(
        `Domain "${domain.name}" asks for permissions that were not granted. If you agree, put this into ${
          this.#config.file ?? "domain.toml"
        } and start again:\n\n${missing}\n`,
      );
    }
    return domain;
  }

  /** The permissions that a group's workers get. */
  permissionsOf(group: string): Deno.PermissionOptionsObject {
    return workerPermissions({ module: this.#options.module }, this.#config.grants(group));
  }

  /**
   * Starts everything; returns when every group runs, or stands by.
   *
   * @throws {EngineStartError} When the domain cannot be run.
   * @throws {StoreUnavailableError} When the store cannot be opened.
   */
  async start(): Promise<void> {
    const print = this.#options.print ?? (() => {});
    print("Starting Annals engine…");
    const pool = this.#pool = poolFor(this.#options.module, this.#config, this.#log);
    const domain = await this.#describe(pool);
    await this.#open(domain, print);
    for (const line of announceSubscriptions(domain, this.#config)) print(line);
    await this.#inspect();
    await this.#checkCopies(domain);
    const presence = new Presence(this.#store, this.#owner, this.#clock);
    await this.#patiently(() => presence.bury());
    const member = { owner: this.#owner, types: Object.keys(domain.types) };
    this.#balancer = new Balancer(this.#store, member, () => presence.bury(), this.#clock);
    await this.#patiently(() => this.#balancer.enroll());
    await this.#begin(domain, pool);
    await Promise.all(this.#runners.map((runner) => runner.ready));
    print("Engine running. Press Ctrl+C to stop.");
  }

  /** Opens store and broker, and what goes with them. */
  async #open(domain: DomainDescription, print: (line: string) => void): Promise<void> {
    const [store, broker] = [locate(this.#config.store, domain.name), locate(this.#config.broker, domain.name)];
    const { migrate = true } = this.#options;
    const opening = { autoCheckpoint: CHECKPOINTED, domain: domain.name, owner: this.#owner };
    const create = migrate || store.provider === "sqlite";
    this.#store = await this.#patiently(() => openStore(store, { ...opening, create }));
    if (migrate) await this.#patiently(async () => await this.#store.publishViews?.(domain.projections));
    this.#broker = await openBroker(broker, opening);
    this.#stopCheckpointer = startWalCheckpointer([
      ...(store.provider === "sqlite" ? [store.url] : []),
      ...(broker.provider === "sqlite" ? [`${broker.url}-broker`] : []),
    ]);
    for (const line of announceAdapters(store, broker)) print(line);
    if (store.provider !== "memory") return;
    this.#say("warn", `event_store is "memory": the log ends with this process`);
    if (!this.#options.socket) return;
    this.#closeSocket = await listen(this.#store, socketPath(this.#config.folder, domain.name));
  }

  /** Warns of services that are set up so that something does not hold, or not as well. */
  async #inspect(): Promise<void> {
    for (const service of [this.#store, this.#broker]) {
      const warnings = await this.#patiently(async () => await service.inspect?.() ?? []);
      for (const warning of warnings) this.#say("warn", warning);
    }
  }

  /** Deletes what the broker has of another log, or of another time, before anybody reads it. */
  async #checkCopies({ categories }: DomainDescription): Promise<void> {
    if (await this.#patiently(async () => await this.#broker.adopt(await this.#store.logId()))) {
      this.#say("warn", "The broker had a copy of another log; it was deleted and is filled again");
    }
    const dropped = await this.#patiently(() =>
      dropCopiesOfAnotherTime(this.#store, this.#broker, Object.keys(categories))
    );
    for (const category of dropped) {
      const what = `The broker had messages of ${category} that the log does not have (was a backup put back?)`;
      this.#say("warn", `${what}; its copy is made again`);
    }
  }

  #patiently<T>(work: () => Promise<T>): Promise<T> {
    return retryUntilUp(work, this.#stopWaiting.signal, this.#say);
  }

  #persist(work: () => Promise<void | "again">): Promise<void> {
    return retryForever(work, this.#stop.signal, this.#say);
  }

  async #begin(domain: DomainDescription, pool: HostPool): Promise<void> {
    const placement = placeWorkers(domain, this.#config, (group) => ({
      module: this.#options.module,
      permissions: this.permissionsOf(group),
      env: environmentOf(this.#config, group),
    }));
    for (const unit of placement.units) pool.add(unit);
    await pool.makeRoom();
    const replays = new Shared(() => this.#store.replayed(), REPLAYS_KNOWN);
    for (const handler of domain.handlers) {
      const { name: group, categories } = handler;
      const partitions = this.#config.workers(group, categories);
      for (let partition = 0; partition < partitions; partition++) {
        const runner = this.#runner(domain, handler, partition, partitions, pool, placement, replays);
        this.#runners.push(runner);
        this.#balancer.add({
          lease: leaseName(group, partition, partitions),
          held: () => runner.fence !== undefined,
          lacks: runner.lacks,
          yield: () => runner.yield(),
        });
      }
    }
    const readers = new Map(
      Object.keys(domain.categories).map((category) => [
        category,
        domain.handlers.filter((handler) =>
          handler.categories.includes(category) && kindOf(this.#config, handler.name) === "stream"
        ).map((handler) => handler.name),
      ]),
    );
    this.#relay = new RelayRunner(
      {
        store: this.#store,
        broker: this.#broker,
        readers,
        outbox: this.#config.enableOutbox,
        log: { info: (text) => this.#say("info", text), warn: (text) => this.#say("warn", text) },
      },
      this.#owner,
      this.#say,
    );
    this.#running = [
      ...this.#runners.map((runner) => this.#persist(() => runner.run())),
      this.#relay.run(this.#stop.signal),
      this.#renew(),
      this.#share(),
    ];
  }

  #runner(
    domain: DomainDescription,
    handler: HandlerDescription,
    partition: number,
    partitions: number,
    pool: HostPool,
    placement: Placement,
    replays: Shared<Awaited<ReturnType<EventStore["replayed"]>>>,
  ): GroupRunner {
    const { name, categories, handles, retries } = handler;
    const { type, settings } = this.#config.groupConfig(name);
    const sql = this.#config.grants(name).sql ?? false;
    const unit = placement.unitOf(name, partition);
    return new GroupRunner({
      store: this.#store,
      broker: type === "stream" ? this.#broker : null,
      owner: this.#owner,
      group: {
        name,
        categories,
        handles: new Set(handles),
        types: new Set(Object.keys(domain.types)),
        ...(retries !== undefined && { retries }),
      },
      partition,
      partitions,
      settings,
      outbox: this.#config.enableOutbox,
      pool,
      unit,
      openLane: () =>
        pool.lane(unit, {
          group: name,
          capability: new Capability(domain, handler, sql),
          timeout: settings.handlerTimeoutSeconds * 1000,
          sql,
          store: this.#store,
          now: this.#clock.now,
        }),
      replays: async (group) => (await replays.get()).filter((parked) => parked.group === group),
      turn: (lease, signal) => this.#balancer.turn(lease, signal),
      clock: this.#clock,
      log: (level, text, fields) => this.#log(name, level, text, fields),
    });
  }

  async #renew(): Promise<void> {
    const signal = this.#stop.signal;
    await this.#persist(async () => {
      await this.#clock.sleep(RENEWAL_INTERVAL, signal);
      if (signal.aborted) return;
      await this.#renewNow();
      return "again";
    });
  }

  async #share(): Promise<void> {
    await this.#persist(() => this.#balancer.run(this.#stop.signal));
  }

  async #renewNow(): Promise<void> {
    await this.#balancer.enroll();
    const held = this.#runners.flatMap((runner) => runner.fence ? [{ runner, fence: runner.fence }] : []);
    const fences: Fence[] = held.map(({ fence }) => fence);
    if (this.#relay.fence) fences.push(this.#relay.fence);
    if (fences.length === 0) return;
    const lost = await this.#store.renewLeases(fences, LEASE_TTL);
    for (const { runner, fence } of held) {
      if (!lost.includes(fence.lease) || runner.fence?.token !== fence.token) continue;
      runner.abandon("fenced", "The lease was lost");
    }
  }

  /** The open store: clients inside this process share it. */
  get store(): EventStore {
    return this.#store;
  }

  /** The processes that run the domain's code. */
  get hosts(): readonly number[] {
    return this.#pool?.pids ?? [];
  }

  /** How the groups are doing. */
  health(): GroupHealth[] {
    return this.#runners.map((runner) => runner.health);
  }

  /** Ends a start that waits for a service. */
  stopWaiting(): void {
    this.#stopWaiting.abort();
    // What has begun is finished; a module that does not answer is not waited for.
    if (this.#runners.length === 0) void this.#pool?.stop();
  }

  /**
   * Stops: no more is read, what is in hand is finished (within `shutdown_timeout_seconds`), leases are given back.
   */
  stop(): Promise<void> {
    return this.#stopping ??= this.#shutDown();
  }

  async #shutDown(): Promise<void> {
    for (const runner of this.#runners) runner.stop();
    await this.#balancer?.leave().catch(() => {});
    const patience = this.#config.shutdownTimeoutSeconds * 1000;
    const until = performance.now() + patience;
    const busy = () => this.#runners.filter(({ health }) => health.state !== "stopped" && health.state !== "failed");
    while (busy().length > 0 && performance.now() < until) {
      await this.#clock.sleep(10);
      if (performance.now() % RENEWAL_INTERVAL < 10) await this.#renewNow().catch(() => {});
    }
    for (const runner of busy()) {
      const { group } = runner.health;
      this.#log(
        group,
        "warn",
        `Did not stop within ${patience / 1000} s; what it has in hand is handled after the next start`,
      );
      runner.abandon("failed", "The server stops");
    }
    this.#stop.abort();
    await Promise.race([Promise.allSettled(this.#running), this.#clock.sleep(2_000)]);
    await this.#pool?.stop();
    await this.#stopCheckpointer();
    this.#closeSocket();
    await this.#broker?.close();
    await this.#store?.close();
  }
}
