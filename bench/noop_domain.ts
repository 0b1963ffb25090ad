import { aggregate, domain, event, eventHandler, projection, projector, type } from "@annals/annals";

const Happened = event("Happened", { schema: type<{ n: number }>() });
const Thing = aggregate("Thing", { events: [Happened], initial: () => 0, evolve: { Happened: (n) => n + 1 } });

const Count = projection("Count", { key: "id", schema: type<{ id: string; count: number }>() });

/** A handler that does nothing, to measure the cost of delivery, and one that counts. */
export default domain("noop", {
  aggregates: [Thing],
  handlers: [
    eventHandler("Idler", { events: [Happened], on: { Happened: () => {} } }),
    projector("Counter", Count, {
      events: [Happened],
      on: { Happened: (row, { aggregateId }) => ({ id: aggregateId, count: (row?.count ?? 0) + 1 }) },
    }),
  ],
});
export { Thing };
