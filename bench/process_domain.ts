import { aggregate, domain, event, processManager, type } from "@annals/annals";

const Happened = event("Happened", { schema: type<{ id: string }>() });
const Thing = aggregate("Thing", { events: [Happened], initial: () => 0, evolve: { Happened: (n) => n + 1 } });

/** A process manager that does nothing, to measure what an input costs. */
export default domain("process", {
  aggregates: [Thing],
  handlers: [
    processManager("Idler", {
      events: [Happened],
      commands: [],
      starts: ["Happened"],
      correlate: { Happened: ({ payload }) => payload.id },
      initial: () => null,
      evolve: {},
      react: { Happened: () => [] },
      refused: {},
    }),
  ],
});
