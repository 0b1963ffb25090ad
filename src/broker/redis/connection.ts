import { Cluster, Redis, type RedisOptions as DriverOptions } from "ioredis";
import { deadline } from "../../lib/deadline.ts";
import { withoutSecrets } from "../../lib/redact_url.ts";
import { BrokerUnavailableError } from "../errors.ts";
import { explain, wordOf } from "./errors.ts";
import type { Driver } from "./waiter.ts";

/** The longest delay between connection attempts, in milliseconds. */
const LONGEST_PAUSE = 1_000;

/** The timeout of a command, in milliseconds. */
const COMMAND_TIMEOUT = 3_000;

/** A connection to Redis, or to a cluster, that connects on first use and again by itself; its errors say what to do. */
export class RedisConnection {
  /** The URL, without its password. */
  readonly location: string;
  #url: string;
  #driver: Driver;
  #lastError: Error | undefined;
  #closed = false;
  #selected: Promise<void> | undefined;

  #timeout: number;

  /**
   * @param url `redis://user:password@host:port/database`, `rediss://` for TLS; `?cluster=true` for a node of a cluster.
   * @param timeout How long a command may take, in milliseconds.
   */
  constructor(url: string, timeout = COMMAND_TIMEOUT) {
    this.#url = url;
    this.#timeout = timeout;
    this.location = withoutSecrets(url);
    this.#driver = this.connect("commands");
  }

  /** The driver of the connection; what is asked of it directly is not explained. */
  get driver(): Driver {
    return this.#driver;
  }

  /** Whether it was closed. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Whether it is one to a cluster. */
  get isCluster(): boolean {
    return this.#driver instanceof Cluster;
  }

  /** Creates a connection of its own, to the same place; for blocking reads. */
  connect(use: string): Driver {
    const url = new URL(this.#url);
    const isCluster = url.searchParams.get("cluster") === "true";
    const pause = (times: number): number => Math.min(LONGEST_PAUSE, 25 * 2 ** Math.min(times, 8));
    const options: DriverOptions = {
      lazyConnect: true,
      connectTimeout: 5_000,
      // Fail at once when disconnected: relay and subscriptions do the waiting and report it.
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      connectionName: `annals-${use}`,
      // A blocking read has its own timeout.
      ...(use === "commands" && { commandTimeout: this.#timeout }),
      disableClientInfo: true,
      enableReadyCheck: true,
      retryStrategy: pause,
      reconnectOnError: (error) => wordOf(error) === "READONLY",
      ...(url.protocol === "rediss:" ? { tls: {} } : {}),
      ...(url.username && { username: decodeURIComponent(url.username) }),
      ...(url.password && { password: decodeURIComponent(url.password) }),
    };
    const host = url.hostname.replace(/^\[|\]$/g, "") || "localhost";
    const port = Number(url.port || 6379);
    const driver = isCluster
      ? new Cluster([{ host, port }], { redisOptions: options, clusterRetryStrategy: pause, lazyConnect: true })
      : new Redis({ ...options, host, port, db: Number(url.pathname.slice(1) || 0) });
    driver.on("error", (error: Error & { lastNodeError?: Error }) => this.#lastError = error.lastNodeError ?? error);
    driver.on("ready", () => {
      this.#lastError = undefined;
      // Another server may answer now.
      this.#selected = undefined;
    });
    return driver;
  }

  /** The driver stays at database 0 if there is none of the number that it was given. */
  #select(driver: Redis): Promise<void> | undefined {
    if (!driver.options.db) return;
    return this.#selected ??= driver.select(driver.options.db).then(() => {}, (error) => {
      this.#selected = undefined;
      throw error;
    });
  }

  /**
   * Asks Redis.
   *
   * @param work What to ask.
   * @returns Its answer.
   * @throws {BrokerUnavailableError} If it cannot be used; the message says why and what to do.
   */
  async ask<T>(work: (driver: Driver) => Promise<T>): Promise<T> {
    if (this.#closed) throw new BrokerUnavailableError(`Redis at ${this.location} was closed`, false);
    try {
      const driver = this.#driver;
      if (driver instanceof Cluster) {
        // It keeps commands until a node is there, whatever the timeout of a command.
        return await deadline(this.#timeout, work(driver), () => new Error("Command timed out"));
      }
      const selecting = this.#select(driver);
      if (selecting) await selecting;
      return await work(driver);
    } catch (error) {
      // A host that crashed, or a firewall, does not close connections; the kernel would keep retransmitting for minutes.
      if (error instanceof Error && error.message === "Command timed out") this.#driver.disconnect(true);
      throw explain(error, this.location, this.#lastError);
    }
  }

  /** Closes it. */
  close(): void {
    this.#closed = true;
    this.#driver.disconnect();
  }
}
