import type { Hono } from "hono";
import type { HttpConfig } from "../config/config.ts";
import { httpUrl, serveHttp } from "../http/server.ts";
import { messageOf } from "../lib/annals_error.ts";
import type { Clock } from "../lib/clock.ts";
import { textOf } from "../messages/thrown.ts";
import type { Report } from "../telemetry/events.ts";
import { EngineStartError } from "./errors.ts";

/** How often an address is tried that is taken, in milliseconds. */
const LISTEN_INTERVAL = 1_000;

/** Dependencies of an {@linkcode HttpService}. */
export interface HttpServiceOptions {
  /** Where it listens. */
  readonly config: HttpConfig;
  /** What it serves, for the startup line, like `dashboard`. */
  readonly serves: readonly string[];
  /** Answers requests. */
  readonly app: Hono;
  /** Prints the startup line. */
  readonly print: (line: string) => void;
  /** The source of time. */
  readonly clock: Clock;
  /** Receives engine events. */
  readonly report: Report;
}

/** Why an address cannot be listened at now, and until when. */
interface NotYet {
  readonly fault: string;
  readonly until: string;
}

/** Listens for HTTP. An address that is taken is a warning: another server may listen there, and stop some time. */
export class HttpService {
  #options: HttpServiceOptions;
  #close: () => Promise<void> = () => Promise.resolve();

  /** @param options Its dependencies. */
  constructor(options: HttpServiceOptions) {
    this.#options = options;
  }

  /**
   * Listens, now or as soon as the address is free.
   *
   * @param signal Gives up.
   * @throws {EngineStartError} If it cannot listen there at all.
   */
  listen(signal: AbortSignal): void {
    const { config: { address }, serves, report } = this.#options;
    if (address === null) return;
    const why = this.#open(address, signal);
    if (why === null) return;
    const warning = `${httpUrl(address)} ${why.fault}, so this process serves no ${
      serves.join(", ")
    } until it ${why.until}, change [server.http] listen in domain.toml`;
    report({ type: "service.warned", warning });
    // The server that listens there may stop, in a rolling restart for one.
    this.#keepTrying(address, signal);
  }

  #keepTrying(address: NonNullable<HttpConfig["address"]>, signal: AbortSignal): void {
    const { clock, report } = this.#options;
    void (async () => {
      do await clock.sleep(LISTEN_INTERVAL, signal); while (!signal.aborted && this.#open(address, signal) !== null);
    })().catch((error) => report({ type: "service.warned", warning: messageOf(error) }));
  }

  /** Opens the address; returns why not, if it may be free later. */
  #open({ hostname, port }: NonNullable<HttpConfig["address"]>, signal: AbortSignal): NotYet | null {
    const { app, serves, print, report } = this.#options;
    const ended = (error: unknown): void => {
      const warning = `HTTP ended and begins again: ${textOf(error)}`;
      report({ type: "service.warned", warning });
      this.#keepTrying({ hostname, port }, signal);
    };
    try {
      const server = serveHttp({ hostname, port }, (request, info) => app.fetch(request, info), ended);
      this.#close = server.close;
      print(`Listening at ${httpUrl({ hostname, port: server.port })} (${serves.join(", ")})`);
      return null;
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) {
        return { fault: "is taken", until: "is free; if no other server of this domain listens there" };
      }
      if (error instanceof Deno.errors.AddrNotAvailable) {
        return { fault: "is no address of this machine", until: "is; if it is not to become one" };
      }
      throw new EngineStartError(
        `Cannot listen at ${httpUrl({ hostname, port })}: ${messageOf(error)}; change [server.http] listen`,
        2,
      );
    }
  }

  /** Takes no more requests; those under way are answered. */
  close(): Promise<void> {
    return this.#close();
  }
}
