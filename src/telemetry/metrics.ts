import process from "node:process";
import denoJson from "../../deno.json" with { type: "json" };
import type { Overview } from "../operating/overview.ts";
import type { Clock } from "../lib/clock.ts";
import { Shared } from "../lib/shared.ts";
import { within } from "../lib/within.ts";
import type { EngineEvent, Report } from "./events.ts";
import { type Instruments, instrumentsOf } from "./instruments.ts";

/** How long an answer is given to others who ask, in milliseconds. */
const KNOWN = 1_000;

/** How long a scrape waits for the store, in milliseconds. */
const PATIENCE = 2_000;

/** What is measured of an engine, for Prometheus. */
export interface EngineMetrics {
  /** The media type of the text. */
  readonly contentType: string;
  /**
   * Returns all metrics in the text format of Prometheus. Those who ask within a second get the same answer; it takes two
   * seconds at most, and if the store has not answered then, it is left out and `annals_store_up` is 0.
   */
  metricsText(): Promise<string>;
}

/** What a group's partitions can be; those of these states are always shown, for alerts. */
const SHOWN = ["running", "failed"] as const;

/** How an attempt to handle a message may end. */
const OUTCOMES = ["handled", "refused", "failed", "dead"] as const;

/** What there is to measure besides events. */
export interface MetricsSources {
  /** What the store knows; rejects if it is away. */
  readonly overview: () => Promise<Overview>;
  /** The partitions of groups in this process. */
  readonly health: () => readonly { readonly group: string; readonly state: string }[];
  /** What runs. */
  readonly build: () => { readonly store: string; readonly broker: string };
  /** The heap that each worker may use, in bytes. */
  readonly heapLimit: number;
  /** The source of time. */
  readonly clock: Pick<Clock, "elapsed">;
  /** How long to wait for the store, in milliseconds. @default {2000} */
  readonly patience?: number;
}

type Counting = {
  readonly [T in EngineEvent["type"]]: ((count: Instruments, event: EngineEvent & { readonly type: T }) => void) | null;
};

/** What each event counts as, besides `annals_events_total`. Of messages that are handled there is one for each batch. */
const COUNTING: Counting = {
  "batch.handled": ({ handled, handling, commit, known }, e) => {
    const { group } = e;
    if (!known.has(group)) {
      // What exists from the beginning can be seen to grow.
      for (const outcome of OUTCOMES) handled.inc({ group, outcome }, 0);
      known.add(group);
    }
    if (e.handled > e.refused) handled.inc({ group, outcome: "handled" }, e.handled - e.refused);
    if (e.refused > 0) handled.inc({ group, outcome: "refused" }, e.refused);
    handling.observe({ group }, e.handlingMs / 1000);
    commit.observe({ group }, e.commitMs / 1000);
  },
  "message.failed": ({ handled }, { group }) => handled.inc({ group, outcome: "failed" }),
  "message.dead": ({ handled }, { group }) => handled.inc({ group, outcome: "dead" }),
  "message.unknown": null,
  "message.newer": null,
  "handler.logged": ({ logLines }, { group, level }) => logLines.inc({ group, level }),
  "service.warned": null,
  "service.away": ({ outages }, { group }) => outages.inc({ group }),
  "service.back": null,
  "broker.left": ({ fallbacks }, { group }) => fallbacks.inc({ group }),
  "broker.rejoined": null,
  "log.forked": null,
  "broker.foreign": null,
  "broker.diverged": null,
  "broker.refilled": ({ refills }, { category }) => refills.inc({ category }),
  "relay.published": ({ relayed, relaying }, { messages, milliseconds }) => {
    relayed.inc(messages);
    relaying.observe(milliseconds / 1000);
  },
  "lease.standby": null,
  "lease.acquired": ({ leasesLost }, { group }) => leasesLost.inc({ group }, 0),
  "lease.lost": ({ leasesLost }, { group }) => leasesLost.inc({ group }),
  "lease.unsure": ({ leasesLost }, { group }) => leasesLost.inc({ group }),
  "schedule.released": ({ released, late }, { messages, lateMs }) => {
    released.inc(messages);
    late.set(lateMs / 1000);
  },
  "worker.started": ({ restarts }, { groups, isRestart }) => {
    for (const group of groups) restarts.inc({ group }, isRestart ? 1 : 0);
  },
  "worker.measured": ({ heap }, { worker, heapBytes }) => heap.set({ worker }, heapBytes),
  "worker.ended": null,
  "worker.replaced": null,
  "group.rested": ({ rests }, { group }) => rests.inc({ group }),
  "group.renamed": null,
  "projection.building": null,
  "projection.built": null,
  "projection.stopped": null,
  "projection.swapped": null,
  "group.full": null,
  "host.started": null,
  "host.ended": ({ hostEnds }, { host }) => hostEnds.inc({ host }),
  "host.printed": null,
  "host.silenced": null,
  "shutdown.overdue": null,
  "engine.failed": null,
};

/** Counts events from its creation on, and asks the store for what that knows when somebody asks for the text. */
export class Metrics implements EngineMetrics {
  readonly contentType = "text/plain; version=0.0.4; charset=utf-8";
  #sources: MetricsSources;
  #text: Shared<string>;
  /** Events that came before the library was loaded. */
  #early: EngineEvent[] | null = [];
  #instruments: Instruments | undefined;
  #loading: Promise<Instruments> | undefined;
  /** The question that the store has not answered yet: there is never a second one. */
  #asked: Promise<Overview> | undefined;

  /** @param sources What there is to measure. */
  constructor(sources: MetricsSources) {
    this.#sources = sources;
    this.#text = new Shared(() => this.#render(), KNOWN, sources.clock);
    // Whoever asks for the text gets the error.
    this.#load().catch(() => {});
  }

  /** Counts an event. */
  readonly report: Report = (event) => {
    if (this.#instruments) count(this.#instruments, event);
    else this.#early?.push(event);
  };

  metricsText(): Promise<string> {
    return this.#text.get();
  }

  #load(): Promise<Instruments> {
    return this.#loading ??= (async () => {
      const instruments = instrumentsOf(await import("prom-client"));
      for (const event of this.#early ?? []) count(instruments, event);
      this.#early = null;
      return this.#instruments = instruments;
    })();
  }

  async #render(): Promise<string> {
    const instruments = await this.#load();
    const { clock, patience = PATIENCE } = this.#sources;
    const askedAt = clock.elapsed();
    this.#asked ??= this.#sources.overview().finally(() => this.#asked = undefined);
    const overview = await within(patience, this.#asked.catch(() => undefined));
    instruments.storeUp.set(overview ? 1 : 0);
    instruments.storeSeconds.set((clock.elapsed() - askedAt) / 1000);
    showStore(instruments, overview);
    this.#showProcess(instruments);
    return await instruments.registry.metrics();
  }

  #showProcess({ build, started, cpu, memory, partitions, heapLimit }: Instruments): void {
    const { user, system } = process.cpuUsage();
    cpu.reset();
    cpu.inc((user + system) / 1e6);
    memory.set(Deno.memoryUsage().rss);
    started.set(performance.timeOrigin / 1000);
    heapLimit.set(this.#sources.heapLimit);
    build.set({ version: denoJson.version, deno: Deno.version.deno, ...this.#sources.build() }, 1);
    partitions.reset();
    for (const { group, state } of this.#sources.health()) {
      for (const shown of SHOWN) partitions.inc({ group, state: shown }, 0);
      partitions.inc({ group, state });
    }
  }
}

function count(instruments: Instruments, event: EngineEvent): void {
  instruments.events.inc({ type: event.type });
  const counting = COUNTING[event.type] as ((count: Instruments, event: EngineEvent) => void) | null;
  counting?.(instruments, event);
}

/** Shows what the store knows; without an answer nothing, rather than what was right before. */
function showStore(instruments: Instruments, overview: Overview | undefined): void {
  const { position, members, outboxWaiting, outboxAge, lagMessages, lagSeconds, deferred, deadLetters, leases } =
    instruments;
  for (const gauge of [lagMessages, lagSeconds, deferred, deadLetters, leases]) gauge.reset();
  if (!overview) {
    for (const gauge of [position, outboxWaiting, outboxAge, members]) gauge.remove();
    return;
  }
  position.set(overview.last);
  members.set(overview.members);
  outboxWaiting.set(overview.outbox.waiting);
  outboxAge.set(overview.outbox.oldestSeconds);
  for (const status of overview.groups) {
    const { group } = status;
    lagMessages.set({ group }, status.lagMessages);
    lagSeconds.set({ group }, status.lagSeconds);
    deferred.set({ group, state: "waiting" }, status.pending);
    deferred.set({ group, state: "retrying" }, status.retrying);
    deadLetters.set({ group }, status.dead);
    leases.set({ group }, status.running);
  }
}
