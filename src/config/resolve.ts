import { millisecondsOf } from "../lib/duration.ts";
import { LONGEST_JSON } from "../messages/json.ts";
import { statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { DEFAULT_SETTINGS, type SubscriptionSettings } from "../groups/settings.ts";
import { generationOf } from "../store/generations.ts";
import { redactUrl } from "../lib/redact_url.ts";
import type { BrokerConfig, Config, GroupConfig, PermissionGrant, StoreConfig } from "./config.ts";
import { ConfigError, type ConfigFault } from "./errors.ts";
import { exchangeOf } from "./exchange.ts";
import { httpOf } from "./http.ts";
import type { ConfigFile } from "./schema.ts";
import { schemeOf, SCHEMES } from "./variables.ts";

/** The default location of an embedded store or broker. */
const DEFAULT_URL = "sqlite:.annals/{domain}.db";

interface Context {
  readonly file: string | null;
  readonly folder: string;
  readonly origins: ReadonlyMap<string, string>;
  readonly unset: readonly ConfigFault[];
  readonly workers?: number;
}

/** How long outcomes and keys of idempotency are kept. */
const KEPT = "30d";

function ageOf(text = KEPT): number {
  return text === "forever" ? Infinity : millisecondsOf(text);
}

/** A key with its value, for an error, and the variable that it comes from. */
function shown(key: string, url: string, { origins }: Context): string {
  const origin = origins.get(key);
  return `${key} = "${redactUrl(url)}"${origin?.includes("(environment)") ? `, from ${origin}` : ""}`;
}

function locate<P extends string>(
  key: string,
  given: { provider?: P | undefined; url?: string | undefined },
  providers: readonly P[],
  context: Context,
): { provider: P; url: string } {
  const fault = (message: string) =>
    new ConfigError(context.file, [{ key: shown(`${key}.url`, given.url ?? "", context), message }]);
  const schemes = Object.keys(SCHEMES).filter((scheme) => (providers as readonly string[]).includes(SCHEMES[scheme]));
  const url = given.url ?? (given.provider === "memory" ? "memory:" : DEFAULT_URL);
  const scheme = schemeOf(url);
  const provider = scheme === undefined ? undefined : SCHEMES[scheme];
  if (provider === undefined || !schemes.includes(scheme!)) {
    const ownFile = context.origins.get(`${key}.url`)?.endsWith("(environment)")
      ? `; unset the variable, or name another with [${key}] url in domain.toml`
      : "";
    throw fault(`expected a URL that begins with ${schemes.map((known) => `"${known}:"`).join(" or ")}${ownFile}`);
  }
  if (given.provider !== undefined && given.provider !== provider) {
    if (given.url === undefined) {
      throw new ConfigError(context.file, [{
        key: `${key}.provider = "${given.provider}"`,
        message: `needs a url, like url = "${given.provider}://localhost"`,
      }]);
    }
    throw fault(`is of provider "${provider}", but ${key}.provider is "${given.provider}"; leave one of them out`);
  }
  if (provider === "memory") return { provider: provider as P, url: "" };
  if (provider !== "sqlite") return { provider: provider as P, url };
  const path = url.slice("sqlite:".length).replace(/^\/\/(?=\/)/, "");
  if (path === "" || path === "//") throw fault(`expected a path, like "${DEFAULT_URL}"`);
  const file = isAbsolute(path) ? path : resolve(context.folder, path);
  if (!mayBeFile(file)) throw fault(`is no file, but a folder or a device; expected a path, like "${DEFAULT_URL}"`);
  return { provider: provider as P, url: file };
}

function mayBeFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // It will be made; or opening it will say why it cannot.
    return true;
  }
}

/** Whether a driver can take a URL apart. */
function isWhole(url: string): boolean {
  try {
    const { hash, username, password, pathname } = new URL(url);
    for (const part of [username, password, pathname]) decodeURIComponent(part);
    // Of a password with @ and / in it, a part would be taken for the host, and be told as such.
    return hash === "" && !pathname.includes("@");
  } catch {
    return false;
  }
}

function checkUrl(key: string, url: string, context: Context): void {
  if (isWhole(url)) return;
  throw new ConfigError(context.file, [{
    key: shown(key, url, context),
    message:
      `is not a valid URL; percent-encode special characters in the password, like %40 for @, %2F for /, %23 for # and %25 for %`,
  }]);
}

/** What the path of a service's URL may be; `null` for anything. */
const PATHS: Readonly<Record<string, { readonly form: RegExp; readonly message: string } | null>> = {
  postgres: null,
  redis: {
    form: /^\/?\d*$/,
    message: "expected the number of a database after the host, or nothing, like redis://localhost:6379/0",
  },
};

function checkService(key: string, { provider, url }: StoreConfig | BrokerConfig, context: Context): void {
  if (!Object.hasOwn(PATHS, provider)) return;
  checkUrl(key, url, context);
  const path = PATHS[provider];
  if (path === null || path.form.test(new URL(url).pathname)) return;
  throw new ConfigError(context.file, [{ key: shown(key, url, context), message: path.message }]);
}

/** Converts permissions to Deno's form, with absolute paths. */
function grantOf(given: PermissionGrant, folder: string): PermissionGrant {
  const absolute = (paths: readonly string[] | undefined) => paths?.map((path) => resolve(folder, path));
  return Object.fromEntries(
    Object.entries({ ...given, read: absolute(given.read), write: absolute(given.write) })
      .filter(([, value]) => value !== undefined),
  );
}

function settingsOf(
  given: NonNullable<NonNullable<ConfigFile["server"]>["stream_subscription"]> | undefined,
  base: SubscriptionSettings,
): SubscriptionSettings {
  return {
    messagesPerTick: given?.messages_per_tick ?? base.messagesPerTick,
    blockingTimeoutMs: given?.blocking_timeout_ms ?? base.blockingTimeoutMs,
    maxRetries: given?.max_retries ?? base.maxRetries,
    retryDelaySeconds: given?.retry_delay_seconds ?? base.retryDelaySeconds,
    enableDlq: given?.enable_dlq ?? base.enableDlq,
    handlerTimeoutSeconds: given?.handler_timeout_seconds ?? base.handlerTimeoutSeconds,
  };
}

/**
 * Fills in defaults and resolves paths.
 *
 * @param config The parsed file.
 * @param context Where the file was read from.
 * @returns The effective configuration.
 * @throws {ConfigError} If a URL is invalid.
 */
export function resolveConfig(config: ConfigFile, context: Context): Config {
  const { file, folder, origins } = context;
  const broker = config.brokers?.default ?? {};
  const server = config.server ?? {};
  const storeUrl = locate("event_store", config.event_store ?? {}, ["memory", "sqlite", "postgres"], context);
  const {
    listen_url: listenUrl,
    sql_role: sqlRole,
    schema = "annals",
    synchronous = "full",
    max_message_bytes: maxMessageBytes = LONGEST_JSON,
  } = config.event_store ??
    {};
  const store: StoreConfig = {
    ...storeUrl,
    maxMessageBytes,
    synchronous,
    schema,
    ...(listenUrl && { listenUrl }),
    ...(sqlRole && { sqlRole }),
  };
  const brokerUrl: BrokerConfig = {
    ...locate("brokers.default", broker, ["memory", "sqlite", "redis"], context),
    prefix: broker.prefix ?? "",
  };
  checkService("event_store.url", store, context);
  checkService("brokers.default.url", brokerUrl, context);
  if (listenUrl !== undefined) {
    checkUrl("event_store.listen_url", listenUrl, context);
    if (!/^postgres(ql)?:/i.test(listenUrl)) {
      throw new ConfigError(file, [{
        key: `event_store.listen_url = "${redactUrl(listenUrl)}"`,
        message: `expected a URL that begins with "postgres:"`,
      }]);
    }
  }
  const exchange = exchangeOf(config, brokerUrl, file);
  const http = httpOf(server.http, file);
  const both = <T>(name: "event_processing" | "command_processing" | "enable_outbox", fallback: T): T =>
    (config[name] ?? broker[name] ?? fallback) as T;
  const base = settingsOf({
    messages_per_tick: server.messages_per_tick,
    handler_timeout_seconds: server.handler_timeout_seconds,
  }, DEFAULT_SETTINGS);
  const groupConfig = (group: string): GroupConfig => {
    const own = ownOf(server.subscriptions, group);
    const type = own?.type ?? server.default_subscription_type ?? "stream";
    const settings = settingsOf(own, settingsOf(server[`${type}_subscription`], base));
    return { type, settings: own?.max_retries === undefined ? settings : { ...settings, isMaxRetriesOwn: true } };
  };
  const named = (["subscriptions", "workers", "permissions"] as const).flatMap((section) =>
    Object.keys(server[section] ?? {}).map((group) => ({ group, key: `server.${section}.${group}` }))
  );
  const hosts = new Map<string, string>();
  for (const [host, groups] of Object.entries(server.hosts ?? {})) {
    if (groups === "each") {
      if (host === "*") continue;
      throw new ConfigError(file, [{ key: `server.hosts.${host} = "each"`, message: `only "*" = "each" is possible` }]);
    }
    for (const group of groups as string[]) {
      const other = hosts.get(group);
      if (other !== undefined) {
        throw new ConfigError(file, [{
          key: `server.hosts.${host}`,
          message: `"${group}" is in host "${other}" already`,
        }]);
      }
      hosts.set(group, host);
      named.push({ group, key: `server.hosts.${host}` });
    }
  }
  const eachAlone = server.hosts?.["*"] === "each";
  const telemetry = { parent: server.telemetry?.parent ?? "never", sample: server.telemetry?.sample ?? 1 } as const;
  const everyone = server.permissions?.["*"] ?? {};
  const values = {
    "event_processing": both("event_processing", "async"),
    "command_processing": both("command_processing", "async"),
    "enable_outbox": both("enable_outbox", true),
    "brokers.default.provider": brokerUrl.provider,
    "brokers.default.url": redactUrl(brokerUrl.url),
    "event_store.provider": store.provider,
    "event_store.url": redactUrl(store.url),
    "event_store.max_message_bytes": store.maxMessageBytes,
    "event_store.synchronous": store.synchronous,
    "event_store.schema": store.schema,
    ...(listenUrl && { "event_store.listen_url": redactUrl(listenUrl) }),
    ...(sqlRole && { "event_store.sql_role": sqlRole }),
    "brokers.default.prefix": brokerUrl.prefix,
    "server.default_subscription_type": server.default_subscription_type ?? "stream",
    "server.shutdown_timeout_seconds": server.shutdown_timeout_seconds ?? 10,
    "server.projection_swap": server.projection_swap ?? "auto",
    "server.rebuild_share": server.rebuild_share ?? 0.5,
    "server.keep_outcomes": server.keep_outcomes ?? KEPT,
    "server.keep_idempotency_keys": server.keep_idempotency_keys ?? KEPT,
    ...flatten("server.telemetry", telemetry),
    "server.max_heap_mb": server.max_heap_mb ?? 2048,
    "server.host_memory_mb": server.host_memory_mb ?? 2048,
    "server.handlers_per_worker": server.handlers_per_worker ?? 1,
    ...http.values,
    ...exchange.values,
    ...flatten("server.hosts", server.hosts ?? {}),
    ...flatten("server.stream_subscription", settingsOf(server.stream_subscription, base)),
    ...flatten("server.event_store_subscription", settingsOf(server.event_store_subscription, base)),
    ...flatten(
      "domains",
      Object.fromEntries(Object.entries(config.domains ?? {}).map(([name, url]) => [name, redactUrl(url)])),
    ),
    ...Object.fromEntries(
      Object.entries(server.subscriptions ?? {}).flatMap(([group, own]) =>
        Object.entries(own).map(([key, value]) => [`server.subscriptions.${group}.${key}`, value])
      ),
    ),
    ...flatten("server.workers", server.workers ?? {}),
    ...flatten("server.partitions", server.partitions ?? {}),
    ...Object.fromEntries(
      Object.entries(server.permissions ?? {}).flatMap(([group, own]) =>
        Object.entries(own).map(([key, value]) => [`server.permissions.${group}.${key}`, value])
      ),
    ),
  };
  const aliases: Record<string, string[]> = {
    event_processing: ["brokers.default.event_processing"],
    command_processing: ["brokers.default.command_processing"],
    enable_outbox: ["brokers.default.enable_outbox"],
    "brokers.default.provider": ["brokers.default.url"],
    "event_store.provider": ["event_store.url"],
  };
  for (const type of ["stream", "event_store"]) {
    aliases[`server.${type}_subscription.messages_per_tick`] = ["server.messages_per_tick"];
    aliases[`server.${type}_subscription.handler_timeout_seconds`] = ["server.handler_timeout_seconds"];
  }
  return {
    file,
    folder,
    domains: Object.fromEntries(
      Object.entries(config.domains ?? {}).map(([name, module]) => [
        name,
        /^[a-z]+:/i.test(module) ? module : resolve(folder, module),
      ]),
    ),
    store,
    broker: brokerUrl,
    eventProcessing: both("event_processing", "async"),
    commandProcessing: both("command_processing", "async"),
    enableOutbox: both("enable_outbox", true),
    shutdownTimeoutSeconds: server.shutdown_timeout_seconds ?? 10,
    projectionSwap: server.projection_swap ?? "auto",
    rebuildShare: server.rebuild_share ?? 0.5,
    keepOutcomes: ageOf(server.keep_outcomes),
    keepIdempotencyKeys: ageOf(server.keep_idempotency_keys),
    telemetry,
    maxHeapMb: server.max_heap_mb ?? 2048,
    hostMemoryMb: server.host_memory_mb ?? 2048,
    handlersPerWorker: server.handlers_per_worker ?? 1,
    hostOf: (group) => hosts.get(generationOf(group).projection) ?? (eachAlone ? group : "main"),
    grantedGroups: [...new Set(["*", ...Object.keys(server.permissions ?? {})])],
    http: http.http,
    publisher: exchange.publisher,
    subscriber: exchange.subscriber,
    unset: context.unset,
    namedGroups: [...named.filter(({ group }) => group !== "*"), ...exchange.namedGroups],
    namedCategories: Object.keys(server.partitions ?? {}).map((category) => ({
      category,
      key: `server.partitions.${JSON.stringify(category)}`,
    })),
    groupConfig,
    workers: (group, categories) =>
      ownOf(server.workers, group) ??
        Math.max(
          context.workers ?? server.workers?.["*"] ?? 1,
          ...categories.map((name) => ownOf(server.partitions, name) ?? 1),
        ),
    grants: (group) => {
      const own = ownOf(server.permissions, group) ?? {};
      const joined = (["net", "env", "read", "write"] as const)
        .map((kind) => [kind, [...everyone[kind] ?? [], ...own[kind] ?? []]] as const)
        .filter(([, list]) => list.length > 0);
      const sql = own.sql ?? everyone.sql ?? false;
      return grantOf({ ...Object.fromEntries(joined), ...(sql && { sql }) }, folder);
    },
    values: Object.entries(values).map(([key, value]) => ({
      key,
      value,
      from: [key, ...aliases[key] ?? []].map((name) => origins.get(name)).find((from) => from) ?? "default",
    })),
  };
}

/** A section's own entry: a handler may be called `constructor`. All generations that a handler feeds are meant by its name. */
function ownOf<T>(section: Readonly<Record<string, T>> | undefined, group: string): T | undefined {
  const name = generationOf(group).projection;
  return section && Object.hasOwn(section, name) ? section[name] : undefined;
}

/** Flattens a table into dotted keys, spelled as in the file. */
function flatten(prefix: string, values: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `${prefix}.${prefix === "domains" || /(workers|partitions|hosts)$/.test(prefix) ? name : snake(name)}`,
      value,
    ]),
  );
}

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
