import { aggregate, domain, event, eventHandler, type } from "@annals/annals";

const Happened = event("Happened", { schema: type<{ n: number }>() });
const Thing = aggregate("Thing", { events: [Happened], initial: () => 0, evolve: { Happened: (n) => n + 1 } });

/** One handler that does nothing: what is left is what delivering costs. */
export default domain("noop", {
  aggregates: [Thing],
  handlers: [eventHandler("Idler", { events: [Happened], on: { Happened: () => {} } })],
});
export { Thing };
