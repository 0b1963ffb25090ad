import type { Broker } from "../broker/port.ts";
import type { Readiness } from "../http/probes.ts";
import { Shared } from "../lib/shared.ts";
import type { Clock } from "../lib/clock.ts";
import { within } from "../lib/within.ts";
import type { GroupStatus } from "../operating/groups.ts";
import type { EventStore } from "../store/port.ts";
import type { GroupHealth } from "./group_runner.ts";

/** How long a service may take to answer, in milliseconds. */
const PATIENCE = 2_000;

/** How long an answer is good for, in milliseconds: probes come from many places. */
const KNOWN = 1_000;

/** States of groups that are as they should be. */
const WELL: ReadonlySet<GroupHealth["state"]> = new Set(["running", "standby", "restarting"]);

/** Dependencies of {@linkcode readiness}. */
export interface ReadinessOptions {
  /** The store. */
  readonly store: Pick<EventStore, "members">;
  /** The broker. */
  readonly broker: Pick<Broker, "lasts">;
  /** Streams of the broker that there may be. */
  readonly streams: readonly string[];
  /** The state of the groups in this process. */
  readonly health: () => readonly GroupHealth[];
  /** How far the groups of all processes are behind. */
  readonly lags: () => Promise<readonly Pick<GroupStatus, "group" | "lagSeconds">[]>;
  /** The lag above which a server is not ready, in seconds. */
  readonly maxLag: number;
  /** The source of time. */
  readonly clock: Clock;
}

/**
 * Returns what looks whether a server is ready: whether it reaches its services, its groups run or stand by, and none is
 * too far behind.
 */
export function readiness(
  { store, broker, streams, health, lags, maxLag, clock }: ReadinessOptions,
): () => Promise<Readiness> {
  const answers = async (work: () => Promise<unknown>): Promise<string> => {
    try {
      return await within(PATIENCE, work().then(() => "ok")) ?? `did not answer within ${PATIENCE / 1000} s`;
    } catch (error) {
      return String(error);
    }
  };
  const lag = async (): Promise<string> => {
    const behind = (await lags()).find(({ lagSeconds }) => lagSeconds > maxLag);
    return behind ? `${behind.group} is ${Math.round(behind.lagSeconds)} s behind` : "ok";
  };
  const look = async (): Promise<Readiness> => {
    const unwell = health().filter(({ state }) => !WELL.has(state));
    const [ofStore, ofBroker, ofLag] = await Promise.all([
      answers(() => store.members()),
      answers(() => broker.lasts(streams)),
      maxLag === Infinity ? "ok" : within(PATIENCE, lag()).then((found) => found ?? "not known", String),
    ]);
    const checks = {
      store: ofStore,
      broker: ofBroker,
      groups: unwell.length === 0 ? "ok" : unwell.map(({ group, state }) => `${group}: ${state}`).join(", "),
      lag: ofLag,
    };
    return { isReady: Object.values(checks).every((check) => check === "ok"), checks };
  };
  const shared = new Shared(look, KNOWN, clock);
  return () => shared.get();
}
