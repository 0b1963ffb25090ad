import { resolve } from "node:path";
import { sleep } from "../async/sleep.ts";
import type { Broker } from "../broker/port.ts";
import type { Config } from "../config/config.ts";
import { didYouMean } from "../config/nearest.ts";
import { dropCopiesOfAnotherTime } from "../outbox/copies.ts";
import type { EventStore, Fence } from "../store/port.ts";
import { type Inspectable, locate, openBroker, openStore, type Publishing, type Wakeable } from "./adapters.ts";
import { announceAdapters, announceSubscriptions, kindOf } from "./announce.ts";
import { EngineStartError } from "./errors.ts";
import { type GroupHealth, GroupRunner } from "./group_runner.ts";
import { startJanitor, TIDIED } from "./janitor.ts";
import { leaseName } from "../subscriptions/lane.ts";
import { freeLeasesOfTheDead, ownerName } from "./lease_owner.ts";
import { patiently, persist, type Say } from "./patience.ts";
import { ungranted, workerPermissions } from "./permissions.ts";
import { PACKAGE_ROOT, probe } from "./probe.ts";
import type { DomainDescription, Level } from "./protocol.ts";
import { RelayRunner } from "./relay_runner.ts";
import { serve } from "./remote.ts";
import { LEASE_TTL, Roster } from "./roster.ts";
import { listen, socketPath } from "./socket.ts";

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
  /** Where log lines go: group (empty for the engine's own), level, text. @default {nowhere} */
  readonly log?: (group: string, level: Level, text: string, fields?: Record<string, unknown>) => void;
}

/** How often leases are renewed, in milliseconds. */
const RENEWAL_INTERVAL = 1_000;

/**
 * Runs a domain: the relay, and a worker for each consumer group.
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
  #log: NonNullable<EngineOptions["log"]>;
  #owner = ownerName();
  #store!: EventStore & Wakeable & Publishing & Inspectable;
  #broker!: Broker & Wakeable & Inspectable;
  #roster!: Roster;
  /** The nodes of the broker's cluster. */
  #hosts: readonly string[] = [];
  #runners: GroupRunner[] = [];
  #running: Promise<unknown>[] = [];
  #relay!: RelayRunner;
  #say: Say = (level, text) => this.#log("", level, text);
  #closeSocket: () => void = () => {};
  #stopJanitor: () => Promise<void> = () => Promise.resolve();
  #stop = new AbortController();
  #impatient = new AbortController();
  #stopping: Promise<void> | undefined;
  #blocked!: () => void;
  /** Resolves when a worker can no longer be stopped: the process has to be replaced. */
  readonly blocked: Promise<void>;

  /**
   * Makes an engine that does not run yet.
   *
   * @param options Which domain, and how.
   */
  constructor(options: EngineOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#log = options.log ?? (() => {});
    this.blocked = new Promise((resolve) => this.#blocked = resolve);
  }

  /**
   * Asks the domain what it contains, without running any of it.
   *
   * @returns What would run.
   * @throws {EngineStartError} When the domain cannot be loaded, or asks for what was not granted.
   */
  async describe(): Promise<DomainDescription> {
    const { module } = this.#options;
    const permissions = workerPermissions({ module, root: PACKAGE_ROOT }, this.#config.grants("*"), []);
    const domain = await probe(module, permissions, (text) => this.#say("info", text));
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
  permissionsOf(domain: DomainDescription, group: string): Deno.PermissionOptionsObject {
    const adapters = [locate(this.#config.store, domain.name), locate(this.#config.broker, domain.name)];
    const code = { module: this.#options.module, root: PACKAGE_ROOT };
    return workerPermissions(code, this.#config.grants(group), adapters, this.#hosts);
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
    const domain = await this.describe();
    await this.#open(domain, print);
    for (const line of announceSubscriptions(domain, this.#config)) print(line);
    await this.#inspect();
    await this.#checkCopies(domain);
    await this.#patiently(() => freeLeasesOfTheDead(this.#store, this.#owner));
    this.#roster = new Roster(this.#store, { owner: this.#owner, types: domain.types });
    await this.#patiently(() => this.#roster.enroll());
    this.#begin(domain);
    await Promise.race([Promise.all(this.#runners.map((runner) => runner.ready)), this.blocked]);
    print("Engine running. Press Ctrl+C to stop.");
  }

  /** Opens store and broker, and what goes with them. */
  async #open(domain: DomainDescription, print: (line: string) => void): Promise<void> {
    const [store, broker] = [locate(this.#config.store, domain.name), locate(this.#config.broker, domain.name)];
    const { migrate = true } = this.#options;
    const opening = { autoCheckpoint: TIDIED, domain: domain.name };
    const create = migrate || store.provider === "sqlite";
    this.#store = await this.#patiently(() => openStore(store, { ...opening, create }));
    if (migrate) await this.#patiently(async () => await this.#store.publishViews?.(domain.projections));
    this.#broker = await openBroker(broker, opening);
    this.#stopJanitor = startJanitor([
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
    this.#hosts = await this.#patiently(async () => await this.#broker.hosts?.() ?? []);
  }

  /** Deletes what the broker has of another log, or of another time, before anybody reads it. */
  async #checkCopies({ categories }: DomainDescription): Promise<void> {
    if (await this.#patiently(async () => await this.#broker.adopt(await this.#store.logId()))) {
      this.#say("warn", "The broker had a copy of another log; it was deleted and is filled again");
    }
    const dropped = await this.#patiently(() => dropCopiesOfAnotherTime(this.#store, this.#broker, categories));
    for (const category of dropped) {
      const what = `The broker had messages of ${category} that the log does not have (was a backup put back?)`;
      this.#say("warn", `${what}; its copy is made again`);
    }
  }

  #patiently<T>(work: () => Promise<T>): Promise<T> {
    return patiently(work, this.#impatient.signal, this.#say);
  }

  #persist(work: () => Promise<void | "again">): Promise<void> {
    return persist(work, this.#stop.signal, this.#say);
  }

  #begin(domain: DomainDescription): void {
    for (const { name: group, categories } of domain.handlers) {
      const partitions = this.#config.workers(group, categories);
      for (let partition = 0; partition < partitions; partition++) {
        const runner = this.#runner(domain, group, partition, partitions);
        this.#runners.push(runner);
        this.#roster.add({
          lease: leaseName(group, partition, partitions),
          held: () => runner.fence !== undefined,
          lacks: runner.lacks,
          yield: () => runner.yield(),
        });
      }
    }
    const readers = new Map(domain.categories.map((category) => [
      category,
      domain.handlers.filter((handler) =>
        handler.categories.includes(category) && kindOf(this.#config, handler.name) === "stream"
      ).map((handler) => handler.name),
    ]));
    this.#relay = new RelayRunner(
      {
        store: this.#store,
        broker: this.#broker,
        readers,
        outbox: this.#config.enableOutbox,
        // Redis wakes its readers itself.
        ...(this.#broker.kind !== "redis" && { onPublished: () => this.#wakeAll() }),
        log: { info: (text) => this.#say("info", text), warn: (text) => this.#say("warn", text) },
      },
      this.#owner,
      this.#say,
    );
    this.#running = [
      ...this.#runners.map((runner) => this.#keep(runner)),
      this.#relay.run(this.#stop.signal),
      this.#renew(),
      this.#share(),
      this.#wakeWorkers(domain),
    ];
  }

  #runner(domain: DomainDescription, group: string, partition: number, partitions: number): GroupRunner {
    const config = this.#config;
    const { type, settings } = config.groupConfig(group);
    const grant = config.grants(group);
    const env = Object.fromEntries(
      (grant.env ?? []).flatMap((name) => {
        const value = Deno.env.get(name);
        return value === undefined ? [] : [[name, value]];
      }),
    );
    return new GroupRunner({
      store: this.#store,
      owner: this.#owner,
      permissions: this.permissionsOf(domain, group),
      grant,
      assignment: {
        module: this.#options.module,
        domain: domain.name,
        owner: this.#owner,
        group,
        partition,
        partitions,
        type,
        settings,
        env,
        outbox: config.enableOutbox,
        store: locate(config.store, domain.name),
        broker: locate(config.broker, domain.name),
      },
      channels: () => this.#channels(),
      turn: (lease, signal) => this.#roster.turn(lease, signal),
      // PostgreSQL tells of it itself.
      onWrote: () => this.#store.kind !== "postgres" && this.#store.wake?.(),
      log: (level, text, fields) => this.#log(group, level, text, fields),
    });
  }

  /** Memory adapters live here and are served to workers over ports. */
  #channels(): { store?: MessagePort; broker?: MessagePort } {
    const open = (adapter: object): MessagePort => {
      const { port1, port2 } = new MessageChannel();
      serve(adapter, port1);
      return port2;
    };
    return {
      ...(this.#store.kind === "memory" && { store: open(this.#store) }),
      ...(this.#broker.kind === "memory" && { broker: open(this.#broker) }),
    };
  }

  async #keep(runner: GroupRunner): Promise<void> {
    await this.#persist(async () => {
      if (await runner.run() === "stopped") return;
      this.#log(runner.health.group, "error", "Its handler can only be stopped by replacing the process");
      this.#blocked();
    });
  }

  async #renew(): Promise<void> {
    const signal = this.#stop.signal;
    await this.#persist(async () => {
      await sleep(RENEWAL_INTERVAL, signal);
      if (signal.aborted) return;
      await this.#renewNow();
      return "again";
    });
  }

  async #share(): Promise<void> {
    await this.#persist(() => this.#roster.run(this.#stop.signal));
  }

  async #renewNow(): Promise<void> {
    await this.#roster.enroll();
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

  /** Workers do not look for changes themselves: one looks for all of them. */
  async #wakeWorkers(domain: DomainDescription): Promise<void> {
    const signal = this.#stop.signal;
    if (this.#store.kind === "memory") return;
    // Redis wakes its readers itself.
    const blind = domain.handlers.some(({ name }) => kindOf(this.#config, name) === "event_store");
    if (this.#broker.kind === "redis" && !blind) return;
    let seen = "";
    await this.#persist(async () => {
      await this.#store.changed(1_000, signal, this.#broker.kind === "redis" ? "messages" : "anything");
      if (signal.aborted) return;
      // Leases are renewed every second: that alone is no reason to wake anybody.
      const { published } = await this.#store.outboxStatus();
      const now = `${await this.#store.lastPosition()}/${published}`;
      if (now !== seen) this.#wakeAll();
      seen = now;
      return "again";
    });
  }

  #wakeAll(): void {
    for (const runner of this.#runners) runner.wake();
  }

  /** The open store: clients inside this process share it. */
  get store(): EventStore {
    return this.#store;
  }

  /** How the groups are doing. */
  health(): GroupHealth[] {
    return this.#runners.map((runner) => runner.health);
  }

  /** Ends a start that waits for a service. */
  stopWaiting(): void {
    this.#impatient.abort();
  }

  /**
   * Stops: no more is read, what is in hand is finished (within `shutdown_timeout_seconds`), leases are given back.
   */
  stop(): Promise<void> {
    return this.#stopping ??= this.#shutDown();
  }

  async #shutDown(): Promise<void> {
    for (const runner of this.#runners) runner.stop();
    await this.#roster?.leave().catch(() => {});
    const patience = this.#config.shutdownTimeoutSeconds * 1000;
    const until = performance.now() + patience;
    const busy = () => this.#runners.filter(({ health }) => health.state !== "stopped" && health.state !== "failed");
    while (busy().length > 0 && performance.now() < until) {
      await sleep(10);
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
    await Promise.race([Promise.allSettled(this.#running), sleep(2_000)]);
    await this.#stopJanitor();
    this.#closeSocket();
    await this.#broker?.close();
    await this.#store?.close();
  }
}
