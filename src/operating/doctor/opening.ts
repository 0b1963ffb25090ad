import { type Inspectable, locate, openStore } from "../../adapters/open.ts";
import { openBroker } from "../../adapters/open_broker.ts";
import { socketPath } from "../../adapters/socket.ts";
import type { Broker } from "../../broker/port.ts";
import type { Config } from "../../config/config.ts";
import { AnnalsError } from "../../lib/annals_error.ts";
import { withoutSecrets } from "../../lib/redact_url.ts";
import { within } from "../../lib/within.ts";
import { textOf } from "../../messages/thrown.ts";
import { pendingMigrations } from "../../sqlite/database.ts";
import { STORE_SCHEMA } from "../../store/sqlite/schema.ts";
import type { EventStore } from "../../store/port.ts";
import type { Finding } from "./finding.ts";

/** How long a service may take to answer, in milliseconds. */
const PATIENCE = 10_000;

/** Something that was opened, or why it could not be. */
export interface Opened<T> {
  /** What was opened; `null` if it could not be. */
  readonly opened: T | null;
  /** What was found on the way. */
  readonly findings: readonly Finding[];
}

type Service = "event_store" | "brokers.default";

function unreachable(severity: Finding["severity"], what: string, where: string, todo: string): Opened<never> {
  return { opened: null, findings: [{ severity, what, where, todo }] };
}

/** What to do about an error that says why something cannot be opened. */
function remedy(text: string, service: Service, url: string): string {
  const { hostname, port, protocol } = URL.canParse(url) ? new URL(url) : { hostname: "", port: "", protocol: "" };
  if (/there is none; start the server/i.test(text)) return "start the server first; it makes the file";
  if (/annals store migrate/.test(text)) return "annals store migrate";
  if (/ ACL |NOPERM|permission|denied|password|auth/i.test(text)) {
    return `correct user, password or privileges in ${service}.url (see docs/deploy.md for what they need)`;
  }
  if (/create the database/.test(text)) return `create it: createdb -h ${hostname} -p ${port || 5432} NAME`;
  if (/no server is listening/i.test(text)) return "start the server; a log in memory is in its process";
  if (protocol.startsWith("redis")) return `start Redis, then: redis-cli -h ${hostname} -p ${port || 6379} ping`;
  if (protocol.startsWith("postgres")) return `start PostgreSQL, then: pg_isready -h ${hostname} -p ${port || 5432}`;
  return `see what it says, and correct ${service}.url if that is wrong`;
}

async function opening<T extends { close(): Promise<void> }>(
  service: Service,
  url: string,
  open: () => Promise<T>,
): Promise<Opened<T>> {
  const where = `${service}: ${URL.canParse(url) ? withoutSecrets(url) : url}`;
  try {
    const work = open();
    const opened = await within(PATIENCE, work);
    if (opened !== undefined) return { opened, findings: [] };
    // It may be opened later, when nobody looks at it any more.
    work.then((late) => late.close(), () => {});
    return unreachable("error", `It does not answer within ${PATIENCE / 1_000} s`, where, remedy("", service, url));
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    return unreachable("error", error.message, where, remedy(error.message, service, url));
  }
}

/** Whether a file is there, and of which kind the fault is if not. */
function absent(path: string): "missing" | "unreadable" | null {
  try {
    Deno.openSync(path).close();
    return null;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? "missing" : "unreadable";
  }
}

/** Looks whether a file of SQLite can be opened without changing it; `null` if it can. */
function examineFile(path: string): Opened<never> | null {
  const where = path;
  const fault = absent(path);
  if (fault === "missing") {
    return unreachable("warning", "There is no data yet: no server has run here", where, "start the server");
  }
  if (fault === "unreadable") {
    const todo = `run this as the user of the server, or: chown $USER ${path}*`;
    return unreachable("error", "This user may not read the file", where, todo);
  }
  const pending = pendingMigrations(path, STORE_SCHEMA);
  if (pending === null || pending <= 0) return null;
  return unreachable(
    "warning",
    `Its tables are of an older version of Annals (${pending} migrations are to be made), so what is in it was not looked at`,
    where,
    "start the server of this version: it updates the tables",
  );
}

/**
 * Opens a domain's store for looking at it. Neither are tables made or updated, nor is the store claimed for the domain.
 *
 * @param config The configuration.
 * @param name The domain's name.
 */
export async function openQuietly(config: Config, name: string): Promise<Opened<EventStore & Inspectable>> {
  const at = locate(config.store, name);
  if (at.provider === "sqlite") {
    const found = examineFile(at.url);
    if (found) return found;
  }
  const options = { create: false, socket: socketPath(config.folder, name) };
  const result = await opening("event_store", at.url, async () => {
    // A store in memory asks for the domain that its server runs; others would note the domain.
    const store = await openStore(at, at.provider === "memory" ? { ...options, domain: name } : options);
    await store.lastPosition();
    return store;
  });
  const { opened } = result;
  if (opened === null) return result;
  // Whoever has handled something has claimed it: to ask writes nothing.
  if (at.provider === "memory" || (await opened.checkpoints()).length === 0) return result;
  try {
    await (opened as EventStore & { claim(domain: string): Promise<void> }).claim(name);
    return result;
  } catch (error) {
    await opened.close();
    const todo =
      `name another place in event_store.url, like sqlite:.annals/{domain}.db, or the domain it belongs to: --domain`;
    return unreachable("error", textOf(error), `event_store: ${opened.location}`, todo);
  }
}

/** Opens a domain's broker for looking at it; one in memory is in the server's process. */
export async function openBrokerQuietly(config: Config, name: string): Promise<Opened<Broker & Inspectable>> {
  const at = locate(config.broker, name);
  if (at.provider === "memory") return { opened: null, findings: [] };
  if (at.provider === "sqlite" && absent(`${at.url}-broker`) === "missing") return { opened: null, findings: [] };
  return await opening("brokers.default", at.url, async () => {
    const broker = await openBroker(at, { create: false });
    try {
      await broker.inspect?.();
      return broker;
    } catch (error) {
      await broker.close();
      throw error;
    }
  });
}
