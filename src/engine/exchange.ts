import type { Hono } from "hono";
import type { RedisConnection } from "../broker/redis/connection.ts";
import type { Config, PublisherConfig } from "../config/config.ts";
import type { Courier } from "../exchange/courier.ts";
import { delivering } from "../exchange/delivering.ts";
import { Intake } from "../exchange/intake.ts";
import type { RedisSource } from "../exchange/redis_source.ts";
import type { GroupWorker } from "../handling/runner.ts";
import type { WebhookSubscriber } from "../http/webhooks.ts";
import type { DomainDescription, HandlerDescription } from "../isolation/protocol.ts";
import type { Clock } from "../lib/clock.ts";
import type { EventStore } from "../store/port.ts";
import type { Report } from "../telemetry/events.ts";
import { EngineStartError } from "./errors.ts";
import { retryUntilUp } from "./retry.ts";
import type { SingleWork } from "./single_runner.ts";

/** How often wrong signatures are spoken of, in milliseconds. */
const COMPLAINT_INTERVAL = 60_000;

/** What the keys of a section are for, by what a handler can do. */
const SECTIONS = {
  publishers: {
    is: ({ writes }: HandlerDescription) => writes.deliveries,
    what: "publisher",
    advice: 'url = "https://…"        # a webhook\nsecret = "${SECRET}"      # whsec_ and base64: what it signs with',
    does: "where its events go",
  },
  subscribers: {
    is: ({ receives }: HandlerDescription) => receives !== undefined,
    what: "subscriber",
    advice:
      'stream = "…"              # a stream of Redis\nsecret = "${SECRET}"      # or webhooks: what they are signed with',
    does: "where its events come from",
  },
} as const;

/**
 * Checks that the configuration says of each publisher and subscriber where its events go or come from, and of no other
 * handler.
 *
 * @throws {EngineStartError} If it does not; says what to add.
 */
export function checkExchange(domain: DomainDescription, config: Config): void {
  const file = config.file ?? "domain.toml";
  for (const [section, { is, what, advice, does }] of Object.entries(SECTIONS)) {
    for (const handler of domain.handlers) {
      const { name } = handler;
      const isNamed = config.namedGroups.some(({ key }) => key === `${section}.${name}`);
      if (is(handler) === isNamed) continue;
      throw new EngineStartError(
        isNamed
          ? `${file}: ${section}.${name}: "${name}" is no ${what}, but a ${handler.kind}`
          : `Domain "${domain.name}" has a ${what} "${name}", and ${file} does not say ${does}. Add, and start again:\n\n[${section}.${name}]\n${advice}\n`,
        2,
      );
    }
  }
}

/** Dependencies of an {@linkcode Exchange}. */
export interface ExchangeOptions {
  /** The open store. */
  readonly store: EventStore;
  /** The domain. */
  readonly domain: DomainDescription;
  /** The configuration, checked by {@linkcode checkExchange}. */
  readonly config: Config;
  /** The source of time. */
  readonly clock: Clock;
  /** Receives engine events. */
  readonly report: Report;
}

/** Connects publishers and subscribers with other systems. */
export class Exchange {
  #options: ExchangeOptions;
  #couriers = new Map<string, Promise<Courier>>();
  #connections = new Map<string, Promise<RedisConnection>>();
  #closers: (() => void)[] = [];

  /** @param options Its dependencies. */
  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  /** Lets a group's worker deliver, if it is a publisher's. */
  worker(group: string, worker: GroupWorker): GroupWorker {
    const { config, clock, report } = this.#options;
    const place = config.publisher(group);
    if (place === null) return worker;
    const courier = () => {
      // Its partitions share it.
      const known = this.#couriers.get(group) ?? this.#open(place);
      this.#couriers.set(group, known);
      return known;
    };
    return delivering(worker, courier, (work, signal) => retryUntilUp(work, { clock, signal, report, group }));
  }

  /** Drivers are loaded where they are needed. */
  async #open({ webhook, stream }: PublisherConfig): Promise<Courier> {
    const courier: Courier = webhook
      ? new (await import("../exchange/webhook_courier.ts")).WebhookCourier(webhook)
      : new (await import("../exchange/redis_courier.ts")).RedisCourier(await this.#connectionTo(stream!.url), stream!);
    this.#closers.push(() => courier.close());
    return courier;
  }

  /** The connection to a Redis that publishers share. */
  #connectionTo(url: string): Promise<RedisConnection> {
    const known = this.#connections.get(url) ?? import("../broker/redis/connection.ts").then(({ RedisConnection }) => {
      const connection = new RedisConnection(url);
      this.#closers.push(() => connection.close());
      return connection;
    });
    this.#connections.set(url, known);
    return known;
  }

  #intakeOf({ name, receives }: HandlerDescription): Intake {
    const { store, domain, config, clock: { now } } = this.#options;
    const { enableOutbox: outbox, store: { maxMessageBytes: longest } } = config;
    return new Intake({ store, domain: domain.name, subscriber: name, receives: receives!, outbox, longest, now });
  }

  /** The streams that are read, each by one among all processes. */
  sources(): SingleWork[] {
    const { domain, config, report } = this.#options;
    return domain.handlers.flatMap((handler) => {
      const stream = config.subscriber(handler.name)?.stream;
      if (!stream) return [];
      const { group = `annals:${domain.name}:${handler.name}` } = stream;
      const intake = this.#intakeOf(handler);
      const warn = (warning: string) => report({ type: "service.warned", warning: `${handler.name}: ${warning}` });
      let source: Promise<RedisSource> | undefined;
      const open = () =>
        source ??= import("../exchange/redis_source.ts").then(({ RedisSource }) =>
          new RedisSource(stream, { group, longest: config.store.maxMessageBytes, intake, warn })
        );
      return [{
        lease: `$intake:${handler.name}`,
        group: handler.name,
        run: async (fence, signal) => await (await open()).run(fence, signal),
      }];
    });
  }

  /** Takes webhooks, if a subscriber has a secret; `null` if none has. */
  async webhooks(): Promise<Hono | null> {
    const { domain, config, clock, report } = this.#options;
    const subscribers = new Map(domain.handlers.flatMap((handler): [string, WebhookSubscriber][] => {
      const { secrets = [] } = config.subscriber(handler.name) ?? {};
      return secrets.length === 0 ? [] : [[handler.name, { intake: this.#intakeOf(handler), secrets }]];
    }));
    if (subscribers.size === 0) return null;
    const { webhooks } = await import("../http/webhooks.ts");
    let complainedAt = -Infinity;
    return webhooks({
      subscribers,
      longest: config.store.maxMessageBytes,
      failed: (group, error) =>
        report({ type: "service.away", group, error: `A webhook was answered with 503: ${error}` }),
      unsigned: (name) => {
        // Anybody can send some.
        if (clock.elapsed() - complainedAt < COMPLAINT_INTERVAL) return;
        complainedAt = clock.elapsed();
        const warning =
          `A webhook for ${name} was refused: its signature is wrong, or more than five minutes old. If it comes from who it should, compare the secret and the clocks`;
        report({ type: "service.warned", warning });
      },
    });
  }

  /** Closes connections, once nothing is delivered any more. */
  close(): void {
    for (const close of this.#closers.splice(0)) close();
  }
}
