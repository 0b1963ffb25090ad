import { untaggedTypes } from "../../groups/tagged.ts";
import type { EventStore } from "../../store/port.ts";
import { isHalfImported } from "../../transfer/import.ts";
import { shownKey } from "../../domain/scheduling.ts";
import { outboxStatus } from "../outbox.ts";
import { check, count, type Finding } from "./finding.ts";

/** How long the outbox and the schedule may take while a server runs, in milliseconds. */
const PATIENCE = 30_000;

/** Whether what was stored reaches the broker. */
export const OUTBOX = check("outbox", ["store"], async ({ store, config, name }) => {
  const { waiting, oldestSeconds, relay } = await outboxStatus({ store });
  if (waiting === 0 || oldestSeconds * 1_000 < PATIENCE || !config.enableOutbox) return [];
  const isServed = (await store.members()).length > 0;
  const what = `${count(waiting, "message")} not in the broker yet, the oldest for ${Math.round(oldestSeconds)} s`;
  const where = `event_store: ${store.location}`;
  if (!isServed) return [{ severity: "warning", what, where, todo: `deno run -A server.ts --domain=${name}` }];
  const todo = relay === null
    ? "no server runs the relay: look for Another process has $relay, or errors of the broker, in the servers' logs"
    : "look for errors of the broker in the log of the server that runs the relay: annals outbox status";
  return [{ severity: "error", what, where, todo }];
});

/** Whether what is due is sent. */
export const SCHEDULE = check("schedule", ["store"], async ({ store, name }) => {
  const { messages: [first], now } = await store.due(1);
  if (first === undefined || now - first.dueAt < PATIENCE) return [];
  const isServed = (await store.members()).length > 0;
  return [{
    severity: isServed ? "error" : "warning",
    what: `A scheduled message is overdue by ${Math.round((now - first.dueAt) / 1_000)} s`,
    where: `schedule: ${shownKey(first.key)}, ${first.message.type} for ${first.stream}`,
    todo: isServed
      ? "look for errors of the relay in the servers' logs: it sends what is due"
      : `deno run -A server.ts --domain=${name}`,
  }];
});

/** A store that takes commits, and does not make them. */
function unchanged(store: EventStore): EventStore {
  const commit = () => Promise.resolve({ lastPosition: 0, versions: [], repeated: null });
  return new Proxy(store, {
    get: (target, name) => {
      if (name === "commit") return commit;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Whether the log is whole: moved entirely, and with tags where they are looked for. */
export const LOG = check("log", ["domain", "store"], async ({ store, domain }) => {
  const findings: Finding[] = [];
  const where = `event_store: ${store.location}`;
  if (await isHalfImported(store)) {
    findings.push({
      severity: "error",
      what: "It has a part of an import: what was handled is not in it yet, so no server starts",
      where,
      todo: "import the whole export: annals import FILE",
    });
  }
  // It would note what it has found.
  const untagged = await untaggedTypes(unchanged(store), domain.tagged.filter(({ isSought }) => isSought));
  for (const { type, position } of untagged) {
    findings.push({
      severity: "error",
      what:
        `Events of "${type}" from before it had tags, like the one at position ${position}: boundaries do not find them`,
      where,
      todo: `annals store tag --domain=${domain.name}`,
    });
  }
  return findings;
});
