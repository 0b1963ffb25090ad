import {
  aggregate,
  type Domain,
  domain,
  event,
  type EventContext,
  eventHandler,
  projection,
  projector,
  type,
} from "@annals/annals";
import { sampleMessage } from "../../src/testing/store_suite.ts";
import type { EventStore } from "../../src/store/port.ts";

/** The one event of the domain that subscriptions are tested with. */
export const Ticked = event("Ticked", { schema: type<{ n: number }>() });
const Passed = event("Passed", { schema: type<{ n: number }>() });
const Clock = aggregate("Clock", {
  events: [Ticked, Passed],
  initial: () => 0,
  evolve: { Ticked: (n) => n + 1, Passed: (n) => n },
});

/** One row per stream: what was seen of it, in the order it was seen. */
export const Seen = projection("Seen", { key: "id", schema: type<{ id: string; ns: number[] }>() });

/** Rows that no projector keeps: for what a reaction puts. */
export const Put = projection("Put", { key: "id", schema: type<{ id: string; ns: number[] }>() });

/** A domain with a projector `Tally` and an event handler `Reactor`, both of which do what they are told. */
export function tickingDomain(
  act: (n: number, context?: EventContext) => unknown = () => {},
): Domain {
  return domain("test", {
    aggregates: [Clock],
    handlers: [
      projector("Tally", Seen, {
        events: [Ticked],
        on: {
          Ticked: (row, event) => {
            act(event.payload.n);
            return { id: event.aggregateId, ns: [...row?.ns ?? [], event.payload.n] };
          },
        },
      }),
      eventHandler("Reactor", {
        events: [Ticked],
        on: { Ticked: (event, context) => act(event.payload.n, context) as void },
      }),
    ],
  });
}

/** Appends one tick to each of some clocks, in one commit; `n` counts on. */
export async function tick(store: EventStore, ids: readonly string[], first = 0, over: object = {}): Promise<void> {
  await store.commit({
    appends: ids.map((id, i) => ({
      category: "test::clock",
      stream: `test::clock-${id}`,
      expected: "any",
      publish: true,
      messages: [sampleMessage({ n: first + i }, { type: "Ticked", ...over })],
    })),
  });
}

/** What `Tally` has seen, by clock; or what was put. */
export async function seen(store: EventStore, projection = "Seen"): Promise<Record<string, number[]>> {
  const rows = await store.listRows(projection);
  return Object.fromEntries(rows.map(({ key, row }) => [key, JSON.parse(row!).ns]));
}
