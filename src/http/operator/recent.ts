import type { EngineEvent, Report } from "../../telemetry/events.ts";
import { lineOf } from "../../telemetry/log_lines.ts";

/** How many warnings are kept. */
const MOST_WARNINGS = 100;

/** Something that somebody may have to do something about. */
export interface Warning {
  /** When it was said last, and how often, in milliseconds since 1970. */
  readonly at: number;
  readonly times: number;
  readonly level: "warn" | "error";
  /** The consumer group; empty for the server itself. */
  readonly group: string;
  readonly text: string;
}

/** A worker of this process. */
export interface WorkerState {
  readonly worker: string;
  readonly groups: readonly string[];
  /** How much of its heap it uses, in bytes; `null` before it has worked. */
  readonly heapBytes: number | null;
  readonly restarts: number;
}

/** What a process has heard of its engine lately: warnings, how long batches take, workers. It listens from the start on. */
export class Recent {
  #now: () => number;
  #warnings: Warning[] = [];
  #timing = new Map<string, { batches: number; handlingMs: number; commitMs: number }>();
  #workers = new Map<string, { groups: readonly string[]; heapBytes: number | null; restarts: number }>();
  /** The groups that read the log because the broker is away, and why. */
  #brokerAway = new Map<string, string>();

  /** @param now Returns the time, in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Takes an engine event. */
  readonly report: Report = (event) => {
    this.#count(event);
    const line = lineOf(event);
    if (line === null || event.type === "handler.logged" || (line.level !== "warn" && line.level !== "error")) return;
    const { level, group, text } = line;
    const found = this.#warnings.findIndex((one) => one.group === group && one.text === text);
    const times = found < 0 ? 1 : this.#warnings.splice(found, 1)[0].times + 1;
    this.#warnings.unshift({ at: this.#now(), times, level, group, text });
    this.#warnings.length = Math.min(this.#warnings.length, MOST_WARNINGS);
  };

  #count(event: EngineEvent): void {
    switch (event.type) {
      case "batch.handled": {
        const known = this.#timing.get(event.group) ?? { batches: 0, handlingMs: 0, commitMs: 0 };
        known.batches++;
        known.handlingMs += event.handlingMs;
        known.commitMs += event.commitMs;
        return void this.#timing.set(event.group, known);
      }
      case "worker.started": {
        const restarts = (this.#workers.get(event.worker)?.restarts ?? 0) + Number(event.isRestart);
        return void this.#workers.set(event.worker, { groups: event.groups, heapBytes: null, restarts });
      }
      case "worker.measured": {
        const known = this.#workers.get(event.worker);
        if (known) known.heapBytes = event.heapBytes;
        return;
      }
      case "broker.left":
        return void this.#brokerAway.set(event.group, event.error);
      case "broker.rejoined":
        return void this.#brokerAway.delete(event.group);
    }
  }

  /** The last warnings, the newest first. */
  get warnings(): readonly Warning[] {
    return this.#warnings;
  }

  /** The workers of this process. */
  get workers(): readonly WorkerState[] {
    return [...this.#workers].map(([worker, state]) => ({ worker, ...state }));
  }

  /** Why groups read the log instead of the broker; `null` if none does. */
  get brokerAway(): string | null {
    const [why = null] = this.#brokerAway.values();
    return why;
  }

  /** How long batches took since this was asked last, on average, by group, in milliseconds. */
  takeTiming(): Readonly<Record<string, { readonly handlingMs: number; readonly commitMs: number }>> {
    const timing = [...this.#timing].map(([group, { batches, handlingMs, commitMs }]) =>
      [group, { handlingMs: handlingMs / batches, commitMs: commitMs / batches }] as const
    );
    this.#timing.clear();
    return Object.fromEntries(timing);
  }
}
