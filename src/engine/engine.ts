import { isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  type Forkable,
  type Inspectable,
  locate,
  openStore,
  type Publishing,
  type Traits,
  type Wakeable,
} from "../adapters/open.ts";
import { openBroker } from "../adapters/open_broker.ts";
import { socketPath } from "../adapters/socket.ts";
import { listen } from "../adapters/socket_server.ts";
import type { Broker } from "../broker/port.ts";
import { ownerName } from "../cluster/process_id.ts";
import type { Config } from "../config/config.ts";
import { checkComplete } from "../config/load.ts";
import { Capability } from "../isolation/capability.ts";
import { removeStaleFolders } from "../isolation/door.ts";
import type { HostPool } from "../isolation/host_pool.ts";
import { Recent } from "../http/operator/recent.ts";
import { codeOf, environmentOf, explainLoad, inspect, inspectorUnit, poolFor } from "../isolation/inspect.ts";
import { Inspector } from "../isolation/inspector.ts";
import { exposing } from "../isolation/visible_files.ts";
import { type CodeLocation, ungranted, workerPermissions } from "../isolation/permissions.ts";
import type { DomainDescription, HandlerDescription } from "../isolation/protocol.ts";
import { type Clock, clockOf } from "../lib/clock.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { isInternal } from "../messages/envelope.ts";
import type { GroupWorker } from "../handling/runner.ts";
import { writing } from "../projections/rows_of_worker.ts";
import { SharedWorker } from "../projections/shared_rows.ts";
import { isNewest, placeGenerations, restartBuilds } from "../projections/place.ts";
import { generationOf, rowsOf, versionOf } from "../store/generations.ts";
import { GenerationRunner } from "./generation_runner.ts";
import { httpServiceOf } from "./http.ts";
import type { HttpService } from "./http_service.ts";
import { dropDivergedCopies } from "../outbox/divergence.ts";
import { CHECKPOINTED, startWalCheckpointer } from "../sqlite/wal_checkpointer.ts";
import { StoreUnavailableError } from "../store/errors.ts";
import type { EventStore } from "../store/port.ts";
import { harmless, NO_REPORT, type Report } from "../telemetry/events.ts";
import { type EngineMetrics, Metrics } from "../telemetry/metrics.ts";
import { tracedBroker, tracedStore } from "../telemetry/traced_ports.ts";
import { tracedWorker } from "../telemetry/traced_worker.ts";
import { type Tracing, tracingOf } from "../telemetry/tracing.ts";
import { announceAdapters, announceSubscriptions } from "./announce.ts";
import { EngineStartError } from "./errors.ts";
import { checkExchange, Exchange } from "./exchange.ts";
import type { GroupHealth } from "./group_runner.ts";
import { type Placement, placeWorkers } from "./placement.ts";
import { checkRenames, renameGroups } from "./renamed.ts";
import { type Overview, overviewOf } from "../operating/overview.ts";
import { placeStarts } from "../groups/starts.ts";
import { checkTags } from "./untagged.ts";
import { isHalfImported } from "../transfer/import.ts";
import { retryUntilUp } from "./retry.ts";
import { type GroupPlan, Supervisor } from "./supervisor.ts";
import { Tidier } from "./tidier.ts";

/** When to say that a module is slow to load, in milliseconds. */
const SLOW_LOAD = 3_000;

/** How often the services are asked for warnings, in milliseconds. */
const INSPECT_INTERVAL = 3_600_000;

/** Settings of {@linkcode Engine}. */
export interface EngineOptions {
  /** The domain's module: a URL. */
  readonly module: string;
  /** The configuration. */
  readonly config: Config;
  /** Whether local clients can reach an in-memory store through a socket in the data folder. @default {false} */
  readonly socket?: boolean;
  /** Whether to listen for HTTP, as `[server.http]` says. @default {false} */
  readonly http?: boolean;
  /** Whether to create or update the store's tables. @default {true} */
  readonly migrate?: boolean;
  /** Whether to run new handlers although others that read the same are gone: they may be renamed. @default {false} */
  readonly acceptNewGroups?: boolean;
  /** Where startup lines are printed. @default {nowhere} */
  readonly print?: (line: string) => void;
  /** The source of time and randomness. @default {the real ones} */
  readonly clock?: Partial<Clock>;
  /** Receives engine events; {@linkcode logTo} turns them into a log. @default {none} */
  readonly report?: Report;
}

/**
 * Runs a domain: the relay and the subscriptions of all consumer groups. The domain's code runs in hosts, separate
 * processes without access to store or broker.
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
  #code: CodeLocation;
  #clock: Clock;
  #report: Report;
  #owner = ownerName();
  #pool: HostPool | undefined;
  #store!: EventStore & Wakeable & Publishing & Inspectable & Forkable & Traits;
  #broker!: Broker & Wakeable & Inspectable & Traits;
  #supervisor: Supervisor | undefined;
  #domain: DomainDescription | undefined;
  #metrics: Metrics | undefined;
  #tracing: Tracing | null = null;
  /** The store for those who are no handlers. */
  #entrance!: EventStore;
  #exchange: Exchange | undefined;
  #http: HttpService | undefined;
  #inspector: Inspector | undefined;
  /** What it has said lately, for whoever looks at the dashboard. */
  #recent: Recent | undefined;
  #closeSocket: () => void = () => {};
  #stopCheckpointer: () => Promise<void> = () => Promise.resolve();
  #stopWaiting = new AbortController();
  #stopping: Promise<void> | undefined;
  /** Ends what is done now and then. */
  #ended = new AbortController();
  #warnings = new Set<string>();
  #generations: Promise<void> = Promise.resolve();
  /** Where each partition of a group runs. */
  #unitOf: Placement["unitOf"] = () => "";

  /**
   * Creates an engine; {@linkcode Engine.start} runs it.
   *
   * @param options The domain and its configuration.
   * @throws {ConfigError} If variables are not set that the file names for servers.
   */
  constructor(options: EngineOptions) {
    checkComplete(options.config);
    this.#options = options;
    this.#config = options.config;
    this.#code = codeOf(options.module, options.config);
    this.#clock = clockOf(options.clock);
    const report = harmless(options.report ?? NO_REPORT);
    this.#recent = options.http ? new Recent(this.#clock.now) : undefined;
    this.#report = (event) => {
      this.#metrics?.report(event);
      this.#recent?.report(event);
      report(event);
    };
  }

  /**
   * Loads the domain in a temporary host and returns its description.
   *
   * @returns The description.
   * @throws {EngineStartError} If the domain cannot be loaded or requests permissions that were not granted.
   */
  async describe(): Promise<DomainDescription> {
    const pool = poolFor(this.#code, this.#config, this.#report);
    try {
      return await this.#describe(pool);
    } finally {
      await pool.stop();
    }
  }

  async #describe(pool: HostPool): Promise<DomainDescription> {
    const { module } = this.#options;
    let domain: DomainDescription;
    const loaded = this.#clock.after(SLOW_LOAD, () => {
      const warning = `${module} has not loaded after ${
        SLOW_LOAD / 1000
      } s: its top level may loop, or wait for something`;
      this.#report({ type: "service.warned", warning });
    });
    try {
      domain = await inspect(pool, this.#code, this.#config);
    } catch (error) {
      throw new EngineStartError(explainLoad(module, error));
    } finally {
      loaded();
    }
    this.#checkName(domain);
    const names = [...new Set(domain.handlers.map((handler) => generationOf(handler.name).projection))];
    for (const { group, key } of this.#config.namedGroups) {
      if (names.includes(group)) continue;
      throw new EngineStartError(
        `${this.#config.file}: ${key}: domain "${domain.name}" has no handler "${group}"${didYouMean(group, names)}`,
        2,
      );
    }
    const categories = [...new Set(domain.handlers.flatMap((handler) => handler.categories))];
    for (const { category, key } of this.#config.namedCategories) {
      if (categories.includes(category)) continue;
      throw new EngineStartError(
        `${this.#config.file}: ${key}: no handler of domain "${domain.name}" reads it${
          didYouMean(category, categories)
        }`,
        2,
      );
    }
    for (const name of [...names, "*"]) {
      const { read = [], write = [] } = this.#config.grants(name);
      const exposed = exposing([...read, ...write], this.#config, domain.name);
      if (exposed === undefined) continue;
      throw new EngineStartError(
        `${this.#config.file}: a grant of ${name} would give its handlers the files of the event store ("${exposed}"); grant narrower paths, or move the data elsewhere`,
        2,
      );
    }
    checkExchange(domain, this.#config);
    const missing = ungranted(domain, this.#config.grants, (path) => resolve(this.#config.folder, path));
    if (missing !== null) {
      throw new EngineStartError(
        `Domain "${domain.name}" requests permissions that were not granted. To grant them, add this to ${
          this.#config.file ?? "domain.toml"
        } and start again:\n\n${missing}\n`,
      );
    }
    return domain;
  }

  /** A module says its domain's name itself, and the name picks the store: it may not take another domain's. */
  #checkName({ name }: DomainDescription): void {
    const { file, domains } = this.#config;
    const { module } = this.#options;
    const urlOf = (path: string) => isAbsolute(path) ? pathToFileURL(path).href : path;
    const configured = Object.entries(domains).filter(([, path]) => urlOf(path) === module).map(([key]) => key);
    if (configured.length > 0 && !configured.includes(name)) {
      throw new EngineStartError(
        `${file}: domains.${configured[0]}: the module's domain is called "${name}"; rename one of the two`,
        2,
      );
    }
    if (name in domains && urlOf(domains[name]) !== module) {
      throw new EngineStartError(
        `The domain of ${module} is called "${name}", but ${file} has domains.${name} = "${
          domains[name]
        }"; rename one of the two`,
        2,
      );
    }
  }

  /** The permissions that a group's workers get. */
  permissionsOf(group: string): Deno.PermissionOptionsObject {
    return workerPermissions(this.#code, this.#config.grants(group));
  }

  /**
   * Starts the engine; resolves when every group is running or standing by.
   *
   * @throws {EngineStartError} If the domain cannot be run.
   * @throws {StoreUnavailableError} If the store cannot be opened.
   */
  async start(): Promise<void> {
    const print = this.#options.print ?? (() => {});
    print("Starting Annals engine…");
    // What happens from here on is counted.
    if (this.#options.http) this.metrics();
    void removeStaleFolders().catch(() => {});
    const pool = this.#pool = poolFor(this.#code, this.#config, this.#report);
    const domain = this.#domain = await this.#describe(pool);
    await this.#open(domain, print);
    for (const line of announceSubscriptions(domain, this.#config)) print(line);
    const [store, config, clock, report] = [this.#store, this.#config, this.#clock, this.#report];
    const exchange = this.#exchange = new Exchange({ store: this.#entrance, domain, config, clock, report });
    await this.#inspect();
    if (await this.#patiently(() => isHalfImported(this.#store))) {
      throw new EngineStartError(
        `The event store at ${this.#store.location} has a part of an import, and what was handled is not in it yet: a server would do that again. ` +
          `Import the whole export: deno task annals import FILE (or into an empty store, if its digest differs)`,
      );
    }
    await this.#patiently(() => renameGroups(this.#store, domain, this.#clock));
    await this.#patiently(() => checkRenames(this.#store, domain, this.#options.acceptNewGroups ?? false));
    await this.#checkCopies(domain);
    await this.#patiently(() => checkTags(this.#store, domain));
    await this.#patiently(() => placeGenerations(this.#store, domain.projections));
    await this.#patiently(() => restartBuilds(this.#store, domain.projections));
    await this.#patiently(() => placeStarts(this.#store, domain.handlers));
    const plans = await this.#plan(domain, pool);
    const generations: GenerationRunner = new GenerationRunner({
      store: this.#store,
      domain,
      owner: this.#owner,
      share: this.#config.rebuildShare,
      swap: this.#config.projectionSwap,
      planOf: (handler, generation) => this.#plansOf(domain, handler, pool, generation.group),
      workerOf: (handler, { group }, readRows) => this.#workerOf(domain, handler, pool, group, 0, 1, readRows),
      groups: { add: (plan) => supervisor.add(plan), remove: (group) => supervisor.remove(group) },
      clock: this.#clock,
      report: this.#report,
    }, plans.map(({ group }) => group.name));
    const supervisor = new Supervisor({
      store: this.#store,
      broker: this.#broker,
      owner: this.#owner,
      types: domain.types,
      plans,
      categories: published(domain),
      outbox: this.#config.enableOutbox,
      singles: exchange.sources(),
      clock: this.#clock,
      report: (event) => {
        if (event.type === "batch.handled") generations.handled(event.group);
        this.#report(event);
      },
    });
    await this.#patiently(() => supervisor.join());
    this.#supervisor = supervisor;
    await supervisor.start();
    void this.#keepInspecting();
    this.#generations = generations.run(this.#ended.signal);
    if (this.#options.http) await this.#listen(domain, pool, print);
    void new Tidier({ store, domain, config, clock, report }).run(this.#ended.signal);
    print("Engine running. Press Ctrl+C to stop.");
  }

  /** Serves HTTP. */
  async #listen(domain: DomainDescription, pool: HostPool, print: (line: string) => void): Promise<void> {
    const { signal } = this.#ended;
    const inspector = this.#inspector = new Inspector(pool, inspectorUnit(this.#code, this.#config));
    this.#http = await httpServiceOf({
      config: this.#config,
      domain,
      store: this.#entrance,
      broker: this.#broker,
      inspector,
      webhooks: await this.#exchange!.webhooks(),
      metrics: this.metrics(),
      recent: this.#recent!,
      streams: published(domain),
      health: () => this.health(),
      print,
      signal,
      clock: this.#clock,
      report: this.#report,
    });
    this.#http.listen(signal);
  }

  /** Opens store and broker with their helpers. */
  async #open(domain: DomainDescription, print: (line: string) => void): Promise<void> {
    const { migrate = true } = this.#options;
    const opening = { autoCheckpoint: CHECKPOINTED, domain: domain.name, owner: this.#owner, migrate };
    const [at, brokerAt] = [locate(this.#config.store, domain.name), locate(this.#config.broker, domain.name)];
    const store = this.#store = await this.#patiently(() => openStore(at, opening));
    const tracing = this.#tracing = await tracingOf(this.#config.telemetry);
    this.#entrance = tracing ? tracedStore(tracing, store) : store;
    const shown = domain.projections.filter((one) => isNewest(one, domain.projections));
    const views = migrate ? await this.#patiently(async () => await store.publishViews?.(shown)) : [];
    for (const warning of views ?? []) this.#report({ type: "service.warned", warning });
    const opened = await openBroker(brokerAt, opening);
    const broker = this.#broker = tracing ? tracedBroker(tracing, opened) : opened;
    this.#stopCheckpointer = startWalCheckpointer([...store.walFiles ?? [], ...broker.walFiles ?? []]);
    for (const line of announceAdapters(store, broker)) print(line);
    if (!store.isVolatile) return;
    const warning = `event_store is "${store.kind}": the log is lost when this process exits`;
    this.#report({ type: "service.warned", warning });
    if (!this.#options.socket) return;
    this.#closeSocket = await listen(this.#store, socketPath(this.#config.folder, domain.name));
  }

  /** Reports warnings about how the services are configured. */
  async #inspect(): Promise<void> {
    for (const service of [this.#store, this.#broker]) {
      this.#warn(await this.#patiently(async () => await service.inspect?.() ?? []));
    }
  }

  /** Does so now and then: while a server runs for months, settings change and logs grow. */
  async #keepInspecting(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await this.#clock.sleep(INSPECT_INTERVAL, signal);
      for (const service of [this.#store, this.#broker]) {
        if (signal.aborted) return;
        // One that is away is asked the next time.
        this.#warn(await service.inspect?.().catch(() => []) ?? []);
      }
    }
  }

  #warn(warnings: readonly string[]): void {
    for (const warning of warnings) {
      if (!this.#warnings.has(warning)) this.#report({ type: "service.warned", warning });
      this.#warnings.add(warning);
    }
  }

  /** Deletes broker entries of another log, or ones the log no longer has, before any group reads them. */
  async #checkCopies(domain: DomainDescription): Promise<void> {
    if (await this.#patiently(async () => await this.#broker.adopt(await this.#store.logId()))) {
      this.#report({ type: "broker.foreign" });
    }
    const dropped = await this.#patiently(() => dropDivergedCopies(this.#store, this.#broker, published(domain)));
    for (const category of dropped) this.#report({ type: "broker.diverged", category });
  }

  #patiently<T>(work: () => Promise<T>): Promise<T> {
    return retryUntilUp(work, { clock: this.#clock, signal: this.#stopWaiting.signal, report: this.#report });
  }

  /** Plans which partitions to run, and where. */
  async #plan(domain: DomainDescription, pool: HostPool): Promise<GroupPlan[]> {
    const placement = placeWorkers(domain, this.#config, (group) => ({
      module: this.#options.module,
      permissions: this.permissionsOf(group),
      env: environmentOf(this.#config, group),
    }));
    for (const unit of placement.units) pool.add(unit);
    await pool.makeRoom();
    this.#unitOf = placement.unitOf;
    const all = await this.#store.generations();
    return domain.handlers.flatMap((handler) => {
      const known = domain.projections.filter(({ group }) => group === handler.name);
      if (known.length === 0) return this.#plansOf(domain, handler, pool, handler.name);
      // What is built in bulk is fed afterwards.
      const fed = all.filter(({ projection, generation, state }) =>
        state === "fed" && known.some(({ name, version }) => name === projection && version === versionOf(generation))
      );
      return fed.flatMap(({ group }) => this.#plansOf(domain, handler, pool, group));
    });
  }

  /** Plans the partitions of a group that runs a handler. */
  #plansOf(domain: DomainDescription, handler: HandlerDescription, pool: HostPool, group: string): GroupPlan[] {
    const { name, categories, handles, retries } = handler;
    const { type, settings } = this.#config.groupConfig(name);
    const partitions = this.#config.workers(name, categories);
    return Array.from({ length: partitions }, (_, partition): GroupPlan => ({
      group: {
        name: group,
        categories,
        handles: new Set(handles),
        types: new Map(Object.entries(domain.types)),
        halts: handler.halts,
        together: handler.writes.deliveries,
        ...(retries !== undefined && { retries }),
      },
      settings,
      feed: type,
      worker: this.#traced(handler, group, this.#workerOf(domain, handler, pool, group, partition, partitions)),
      partition,
      partitions,
    }));
  }

  /** What is built in bulk is not traced: its causes are long gone. */
  #traced({ writes }: HandlerDescription, group: string, worker: GroupWorker): GroupWorker {
    const step = writes.outcomes ? "decide" : writes.rows === "kept" ? "project" : "handle";
    return this.#tracing ? tracedWorker(this.#tracing, { group, step }, worker) : worker;
  }

  /** The worker that runs a handler for a group: its own, or that of another generation of what it keeps. */
  #workerOf(
    domain: DomainDescription,
    handler: HandlerDescription,
    pool: HostPool,
    group: string,
    partition: number,
    partitions = 1,
    readRows: EventStore["readRows"] = (projection, keys) => this.#store.readRows(projection, keys),
  ): GroupWorker {
    const { name, keeps } = handler;
    const { settings } = this.#config.groupConfig(name);
    const sql = this.#config.grants(name).sql ?? false;
    const store = this.#store;
    const { generation } = generationOf(group);
    // Of its code, a handler knows only the first generation.
    const rowsFor = (rows: string) =>
      keeps.includes(rows) ? rowsOf(generationOf(rows).projection, generation ?? 1) : rows;
    const shared = partitions > 1 && keeps.length > 0 ? new SharedWorker() : null;
    const read: EventStore["readRows"] = (rows, keys) => readRows(rowsFor(rows), keys);
    const worker = pool.workerOf(this.#unitOf(name, partition), {
      group: name,
      capability: new Capability(domain, handler, sql, this.#config.store.maxMessageBytes),
      timeout: settings.handlerTimeoutSeconds * 1000,
      sql,
      longest: this.#config.store.maxMessageBytes,
      store: {
        readStream: (stream, options) => store.readStream(stream, options),
        readAt: (positions, options) => store.readAt(positions, options),
        readTagged: (among, options) => store.readTagged(among, options),
        readSnapshot: (stream, fingerprint) => store.readSnapshot(stream, fingerprint),
        outcome: (command) => store.outcome(command),
        readRows: shared?.reading(read) ?? read,
      },
      now: this.#clock.now,
    });
    const own = this.#exchange!.worker(group, shared?.worker(worker) ?? worker);
    return group === name ? own : writing(own, rowsFor);
  }

  /** The open store, shared by clients in this process. */
  get store(): EventStore {
    return this.#entrance;
  }

  /** The host processes that run the domain's code. */
  get hosts(): readonly number[] {
    return this.#pool?.pids ?? [];
  }

  /** The health of all groups. */
  health(): GroupHealth[] {
    return this.#supervisor?.health ?? [];
  }

  /** Metrics of this engine for Prometheus. Events are counted from the first call on: call it before the start. */
  metrics(): EngineMetrics {
    return this.#metrics ??= new Metrics({
      overview: () => this.overview(),
      health: () => this.health(),
      build: () => ({ store: this.#config.store.provider, broker: this.#config.broker.provider }),
      heapLimit: this.#config.maxHeapMb * 1024 * 1024,
      clock: this.#clock,
    });
  }

  /**
   * Asks the store how all groups are doing.
   *
   * @throws {StoreUnavailableError} If the store is unavailable, or not open yet.
   */
  async overview(): Promise<Overview> {
    const [store, domain, config] = [this.#store, this.#domain, this.#config];
    if (!store || !domain) throw new StoreUnavailableError("The store is not open yet", "closed", true);
    return await overviewOf({ store, domain, config }, this.#clock.now());
  }

  /** Aborts a start that is waiting for a service. */
  stopWaiting(): void {
    this.#stopWaiting.abort();
    // Steps in progress complete; a module that does not respond is not waited for.
    if (!this.#supervisor) void this.#pool?.stop();
  }

  /** Stops: finishes in-flight batches (within `shutdown_timeout_seconds`) and releases the leases. */
  stop(): Promise<void> {
    return this.#stopping ??= this.#shutDown();
  }

  async #shutDown(): Promise<void> {
    this.#ended.abort("stop");
    // What was posted is stored before the store is closed.
    const unheard = this.#http?.close();
    await this.#supervisor?.stop(this.#config.shutdownTimeoutSeconds * 1000);
    // Requests under way may ask the domain's code.
    await unheard;
    this.#inspector?.close();
    await this.#pool?.stop();
    await this.#generations;
    this.#exchange?.close();
    await this.#stopCheckpointer();
    this.#closeSocket();
    await this.#broker?.close();
    await this.#store?.close();
  }
}

/** The categories that the broker has copies of. */
function published({ categories }: DomainDescription): string[] {
  return Object.keys(categories).filter((category) => !isInternal(category));
}
