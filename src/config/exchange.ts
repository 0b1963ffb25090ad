import { redactUrl } from "../lib/redact_url.ts";
import type { BrokerConfig, Config, PublisherConfig, SubscriberConfig } from "./config.ts";
import { ConfigError } from "./errors.ts";
import type { ConfigFile } from "./schema.ts";

/** How long a webhook may take to answer, in seconds. */
const TIMEOUT = 15;

/** What a configuration says about other systems. */
export interface ExchangeConfig extends Pick<Config, "publisher" | "subscriber" | "namedGroups"> {
  /** The effective values, by key; secrets are masked. */
  readonly values: Readonly<Record<string, unknown>>;
}

function listOf(secret: unknown): readonly string[] {
  return secret === undefined ? [] : ([] as unknown[]).concat(secret) as string[];
}

/**
 * Resolves where events go and come from.
 *
 * @param config The parsed file.
 * @param broker The broker, whose Redis is the default.
 * @param file The name of the file.
 * @returns What of the configuration is about that; the origins of values are left to the caller.
 * @throws {ConfigError} If something is missing, or is too much.
 */
export function exchangeOf(
  { publishers = {}, subscribers = {} }: ConfigFile,
  broker: BrokerConfig,
  file: string | null,
): ExchangeConfig {
  const fault = (key: string, message: string) => new ConfigError(file, [{ key, message }]);
  const redisOf = (key: string, given: string | undefined): string => {
    if (given !== undefined) {
      if (/^rediss?:\/\//i.test(given) && URL.canParse(given)) return given;
      throw fault(`${key}.redis = "${redactUrl(given)}"`, 'expected a URL that begins with "redis:" or "rediss:"');
    }
    if (broker.provider === "redis") return broker.url;
    throw fault(`${key}.stream`, `needs a Redis, and the broker is another; add redis = "redis://localhost:6379"`);
  };
  const publisherOf = (name: string): PublisherConfig => {
    const key = `publishers.${name}`;
    const { url, stream, secret, redis, timeout_seconds: timeout, max_length: longest } = publishers[name];
    if ((url === undefined) === (stream === undefined)) {
      throw fault(key, 'needs either a webhook, url = "https://…", or a stream of Redis, stream = "…"');
    }
    const useless = url === undefined ? { secret, timeout_seconds: timeout } : { redis, max_length: longest };
    for (const [option, value] of Object.entries(useless)) {
      if (value !== undefined) throw fault(`${key}.${option}`, `is of no use for a ${url ? "webhook" : "stream"}`);
    }
    if (stream !== undefined) return { stream: { url: redisOf(key, redis), stream, longest: longest ?? null } };
    if (!/^https?:\/\//i.test(url!) || !URL.canParse(url!)) {
      throw fault(`${key}.url = "${redactUrl(url!)}"`, 'expected a URL that begins with "https:" or "http:"');
    }
    if (secret === undefined) throw fault(key, 'needs the secret that it signs with, like secret = "${FEED_SECRET}"');
    return { webhook: { url: url!, secrets: listOf(secret), timeout: (timeout ?? TIMEOUT) * 1000 } };
  };
  const subscriberOf = (name: string): SubscriberConfig => {
    const key = `subscribers.${name}`;
    const { stream, group, secret, redis } = subscribers[name];
    if (stream === undefined && secret === undefined) {
      throw fault(key, 'needs a stream of Redis, stream = "…", or the secret of those who post to it, secret = "…"');
    }
    for (const [option, value] of Object.entries({ redis, group })) {
      if (stream === undefined && value !== undefined) throw fault(`${key}.${option}`, "is of no use without a stream");
    }
    return {
      secrets: listOf(secret),
      ...(stream !== undefined && {
        stream: { url: redisOf(key, redis), stream, ...(group !== undefined && { group }) },
      }),
    };
  };
  const all = <T>(names: object, one: (name: string) => T) =>
    new Map(Object.keys(names).map((name) => [name, one(name)]));
  const [to, from] = [all(publishers, publisherOf), all(subscribers, subscriberOf)];
  const shown = (section: string, entries: Readonly<Record<string, object>>) =>
    Object.entries(entries).flatMap(([name, own]) =>
      Object.entries(own).filter(([, value]) => value !== undefined).map(([option, value]) => [
        `${section}.${name}.${option}`,
        option === "secret" ? "***" : typeof value === "string" ? redactUrl(value) : value,
      ])
    );
  return {
    publisher: (name) => to.get(name) ?? null,
    subscriber: (name) => from.get(name) ?? null,
    namedGroups: [
      ...[...to.keys()].map((group) => ({ group, key: `publishers.${group}` })),
      ...[...from.keys()].map((group) => ({ group, key: `subscribers.${group}` })),
    ],
    values: Object.fromEntries([
      ...shown("publishers", publishers),
      ...shown("subscribers", subscribers),
    ]),
  };
}
