import {
  aggregate,
  command,
  commandHandler,
  domain,
  event,
  eventHandler,
  projection,
  projector,
  type,
} from "@annals/annals";
import process from "node:process";

const Asked = event("Asked", { schema: type<{ kind: string }>() });
const Request = aggregate("Request", { events: [Asked], initial: () => 0, evolve: { Asked: (n) => n + 1 } });
export const Ask = command("Ask", { schema: type<{ id: string; kind: string }>(), target: ({ id }) => id });
export const Seen = projection("Seen", { key: "id", schema: type<{ id: string; n: number }>() });

/** Handlers: one decides, one projects, one kills its process on request, and the others do nothing. */
export const withOnlookers = (count: number) =>
  domain("many", {
    aggregates: [Request],
    handlers: [
      commandHandler("Asker", Request, {
        commands: [Ask],
        handle: { Ask: (_n, { payload }) => Asked({ kind: payload.kind }) },
      }),
      projector("Witness", Seen, {
        events: [Asked],
        keyOf: () => "all",
        on: { Asked: (row) => ({ id: "all", n: (row?.n ?? 0) + 1 }) },
      }),
      eventHandler("Killer", {
        events: [Asked],
        on: { Asked: ({ payload }) => void (payload.kind === "kill" && Deno.kill(process.pid, "SIGKILL")) },
      }),
      ...Array.from({ length: count }, (_, i) =>
        eventHandler(`Onlooker${i}`, { events: [Asked], on: { Asked: () => {} } })),
    ],
  });

/** A hundred handlers. */
export default withOnlookers(97);
