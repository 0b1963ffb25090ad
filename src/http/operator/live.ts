import { categoriesOfGroup } from "../../operating/groups.ts";
import type { Clock } from "../../lib/clock.ts";
import { within } from "../../lib/within.ts";
import { textOf } from "../../messages/thrown.ts";
import { type Overview, overviewOf } from "../../operating/overview.ts";
import { type Operator, processName } from "../../operating/operator.ts";
import { historyOf, newsOf, type Told, type ToldNews } from "./told.ts";
import type { Recent, Warning, WorkerState } from "./recent.ts";

/** How often the store is asked while somebody looks, in milliseconds; less often if its answer takes long, for how many times that. */
const INTERVAL = 1_000;
const REST = 4;

/** How long the store may take to answer, in milliseconds. */
const PATIENCE = 3_000;

/** How many looks are kept for whoever comes later: two minutes. */
const MOST_KEPT = 120;

/** How fast a group is. */
export interface Rates {
  /** Messages that came for it, and that it is done with, a second. */
  readonly in: number;
  readonly out: number;
}

/** How a domain is doing at a moment. */
export interface Look extends Partial<Overview> {
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** Why the store does not answer; `null` if it does. */
  readonly away: string | null;
  /** How many messages came to the log, a second. */
  readonly rate: number;
  /** The same of each group. */
  readonly rates: Readonly<Record<string, Rates>>;
  /** How long batches took in this process since the look before, on average, in milliseconds. */
  readonly timing: Readonly<Record<string, { readonly handlingMs: number; readonly commitMs: number }>>;
  /** Processes, and what each holds. */
  readonly processes: readonly { readonly name: string; readonly holds: readonly string[] }[];
  /** The workers of this process. */
  readonly workers: readonly WorkerState[];
  /** What the services are, and whether groups wait for them. */
  readonly services: readonly {
    readonly name: string;
    readonly kind: string;
    readonly location: string;
    readonly away: string | null;
  }[];
  /** The last warnings, the newest first. */
  readonly warnings: readonly Warning[];
}

/** Dependencies of a {@linkcode Live}. */
export interface LiveOptions {
  readonly operator: Operator;
  /** What the process has heard of its engine. */
  readonly recent: Recent;
  /** The store and the broker, as they are shown. */
  readonly services: readonly { readonly name: string; readonly kind: string; readonly location: string }[];
  readonly clock: Clock;
}

/** Tells everybody who looks how the domain is doing. The store is asked once for all of them, and only while there are some. */
export class Live {
  #options: LiveOptions;
  #viewers = new Set<(look: string) => void>();
  #kept: Look[] = [];
  #before: { readonly overview: Overview; readonly at: number } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLooking = false;

  /** @param options Its dependencies. */
  constructor(options: LiveOptions) {
    this.#options = options;
  }

  /** Looks once, for whoever does not stay. */
  async look(): Promise<Look> {
    return this.#kept.at(-1) ?? await this.#take();
  }

  /**
   * Tells a viewer, as JSON: first the last look as a whole, with what charts need of those before; then what is new in each.
   *
   * @returns Ends it.
   */
  watch(viewer: (look: string) => void): () => void {
    const last = this.#kept.at(-1);
    const told: Told | undefined = last && { ...last, isWhole: true, history: historyOf(this.#kept) };
    if (told) viewer(JSON.stringify(told));
    this.#viewers.add(viewer);
    if (this.#timer === undefined && !this.#isLooking) void this.#keepLooking();
    return () => void this.#viewers.delete(viewer);
  }

  async #keepLooking(): Promise<void> {
    this.#isLooking = true;
    this.#timer = undefined;
    if (this.#viewers.size === 0) {
      // What was before says nothing about now.
      this.#kept = [];
      this.#before = undefined;
      this.#isLooking = false;
      return;
    }
    const began = performance.now();
    const look = await this.#take();
    const before = this.#kept.at(-1);
    const told: Told | ToldNews = before ? newsOf(before, look) : { ...look, isWhole: true };
    this.#kept.push(look);
    if (this.#kept.length > MOST_KEPT) this.#kept.shift();
    const text = JSON.stringify(told);
    for (const viewer of this.#viewers) viewer(text);
    this.#isLooking = false;
    const pause = Math.max(INTERVAL, REST * (performance.now() - began));
    this.#timer = setTimeout(() => void this.#keepLooking(), pause);
  }

  async #take(): Promise<Look> {
    const { operator, recent, services, clock } = this.#options;
    const at = clock.now();
    let [overview, away]: [Overview | undefined, string | null] = [undefined, null];
    let owners: string[] = [];
    try {
      const found = await within(PATIENCE, Promise.all([overviewOf(operator, at), operator.store.members()]));
      if (found === undefined) away = `The store has not answered within ${PATIENCE / 1000} s`;
      else [overview, owners] = [found[0], found[1].map(({ owner }) => processName(owner))];
    } catch (error) {
      away = textOf(error);
    }
    return {
      at,
      away,
      ...overview,
      ...await this.#ratesAt(overview),
      timing: recent.takeTiming(),
      processes: owners.map((name) => ({
        name,
        holds: (overview?.groups ?? []).flatMap(({ group, workers, held }) =>
          held.filter(({ process }) => process === name).map(({ partition }) =>
            workers === 1 ? group : `${group} ${partition + 1}/${workers}`
          )
        ),
      })),
      workers: recent.workers,
      services: services.map((one) => ({ ...one, away: one.name === "broker" ? recent.brokerAway : away })),
      warnings: recent.warnings,
    };
  }

  /** Compares with the look before: how much came, and how much of it is done. */
  async #ratesAt(overview: Overview | undefined): Promise<Pick<Look, "rate" | "rates">> {
    const none = { rate: 0, rates: {} };
    const before = this.#before;
    if (!overview) return none;
    const { operator: { store, domain }, clock } = this.#options;
    const now = clock.elapsed();
    this.#before = { overview, at: now };
    if (!before || now <= before.at) return none;
    const seconds = (now - before.at) / 1000;
    const categories = [...new Set(domain.handlers.flatMap((handler) => handler.categories))];
    const came = await store.lags(categories.map((category) => ({ category, after: before.overview.last }))).catch(
      () => [],
    );
    const cameIn = new Map(categories.map((category, i) => [category, came[i]?.messages ?? 0]));
    const lagBefore = new Map(before.overview.groups.map(({ group, lagMessages }) => [group, lagMessages]));
    const rates = overview.groups.map(({ group, lagMessages }): [string, Rates] => {
      const arrived = categoriesOfGroup(domain, group).reduce((sum, name) => sum + (cameIn.get(name) ?? 0), 0);
      const done = Math.max(0, arrived + (lagBefore.get(group) ?? lagMessages) - lagMessages);
      return [group, { in: arrived / seconds, out: done / seconds }];
    });
    return { rate: (overview.last - before.overview.last) / seconds, rates: Object.fromEntries(rates) };
  }
}
