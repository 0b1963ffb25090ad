import { LONGEST_JSON } from "../messages/json.ts";
import { z } from "zod";

/** A value substituted for `${NAME|default}`: text that may stand for a number or a boolean. */
export class Interpolated {
  /** @param text The variable's value. */
  constructor(readonly text: string) {}
}

function unwrap(convert: (text: string) => unknown): (value: unknown) => unknown {
  return (value) => value instanceof Interpolated ? convert(value.text) : value;
}

const asText = unwrap((text) => text);
const asNumber = unwrap((text) => text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text));
const asFlag = unwrap((text) => text === "true" ? true : text === "false" ? false : text);

function whole(low: number, high: number) {
  const error = `expected a whole number from ${low} to ${high}`;
  return z.preprocess(asNumber, z.number({ error }).int({ error }).min(low, { error }).max(high, { error })).optional();
}

function seconds(low: number, high: number) {
  const error = `expected a number of seconds from ${low} to ${high}`;
  return z.preprocess(asNumber, z.number({ error }).min(low, { error }).max(high, { error })).optional();
}

function choice<const T extends [string, ...string[]]>(...values: T) {
  const error = `expected ${values.map((value) => `"${value}"`).join(" or ")}`;
  return z.preprocess(asText, z.enum(values, { error })).optional();
}

const flag = z.preprocess(asFlag, z.boolean({ error: "expected true or false" })).optional();
const text = z.preprocess(
  asText,
  z.string({ error: "expected a string" }).min(1, { error: "expected a string" })
    .refine((given) => !given.includes("\0"), { error: "contains U+0000; take it out" }),
);
const texts = z.array(text, { error: `expected a list of strings, like ["a", "b"]` }).optional();
const table = { error: "expected a table of keys" };

const subscription = {
  messages_per_tick: whole(1, 10_000),
  blocking_timeout_ms: whole(1, 60_000),
  max_retries: whole(0, 1_000),
  retry_delay_seconds: seconds(0, 86_400),
  enable_dlq: flag,
  handler_timeout_seconds: seconds(0.01, 86_400),
};

const processing = {
  event_processing: choice("async", "sync"),
  command_processing: choice("async", "sync"),
  enable_outbox: flag,
};

/** A host in the form of `--allow-net`. */
const host = text.refine((given) => {
  const port = /^(?:\[[\da-f:.]+\]|[^\s/:@?#,*\0]+)(?::(\d{1,5}))?$/i.exec(String(given));
  return port !== null && Number(port[1] ?? 0) <= 65_535;
}, { error: 'expected a host, or a host and its port, like "smtp.example.com:587"' });
const variable = text.refine((given) => /^[^\s=,\0]+$/.test(String(given)), {
  error: 'expected the name of a variable, like "API_KEY"',
});
const variables = z.array(variable, { error: 'expected a list of names, like ["API_KEY"]' }).optional();
const hosts = z.array(host, { error: 'expected a list of hosts, like ["smtp.example.com:587"]' }).optional();
const permissions = z.strictObject({ net: hosts, env: variables, read: texts, write: texts, sql: flag }, table);

const age = z.preprocess(
  asText,
  z.string().regex(/^(forever|[1-9]\d{0,5}(s|m|h|d))$/, {
    error: 'expected a length of time, like "30d", or "forever"',
  }),
).optional();

const share = z.preprocess(
  asNumber,
  z.number({ error: "expected a number" }).gt(0, { error: "expected a number above 0" }).max(1, {
    error: "expected a number up to 1",
  }),
).optional();

const fraction = z.preprocess(
  asNumber,
  z.number({ error: "expected a number from 0 to 1" }).min(0, { error: "expected a number from 0" }).max(1, {
    error: "expected a number up to 1",
  }),
).optional();

const SECRET_FORM = '"whsec_" and base64 of 24 to 64 random bytes';
const MAKE_SECRET = 'make one: echo "whsec_$(openssl rand -base64 32)"';

/** A secret of Standard Webhooks: base64 of 24 to 64 bytes. */
const secret = text.refine((given) => {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(String(given))?.[1];
  return encoded !== undefined && encoded.length % 4 === 0 && encoded.length >= 32 && encoded.length <= 88;
}, { error: `expected ${SECRET_FORM}; ${MAKE_SECRET}` });
const secrets = z.union([secret, z.array(secret).refine((list) => list.length > 0)], {
  error: `expected ${SECRET_FORM}, or a list of such; ${MAKE_SECRET}`,
}).optional();

const address = text.refine((given) => {
  if (String(given) === "off") return true;
  const port = /^(?:\[[\da-f:.]+\]|[^\s/:@?#]+):(\d{1,5})$/i.exec(String(given))?.[1];
  return port !== undefined && Number(port) <= 65_535 && URL.canParse(`http://${given}`);
}, { error: 'expected an address and a port, like "127.0.0.1:8440", or "off"' }).optional();

const LONG_ENOUGH = 16;

/** What a program sends as its bearer. */
const token = text.refine((given) => new RegExp(`^[!-~]{${LONG_ENOUGH},1000}$`).test(String(given)), {
  error: `expected at least ${LONG_ENOUGH} characters without spaces; make one: openssl rand -base64 32`,
}).optional();

/** At least what OWASP takes for enough, and no more than a login may cost. */
function isPasswordHash(given: string): boolean {
  const [, N, r, p] = /^scrypt:(\d{1,7}):(\d{1,3}):(\d{1,2}):[\w-]{16,}:[\w-]{22,}$/.exec(given)?.map(Number) ?? [];
  const isPower = N > 1 && (N & (N - 1)) === 0;
  return isPower && N * r * p >= 1 << 19 && 128 * N * r <= 64 << 20 && N * r * p <= 1 << 22;
}

const passwordHash = text.refine((given) => isPasswordHash(String(given)), {
  error: "expected what `deno task annals config hash-password` prints",
});

const hostNames = z.array(
  text.refine((given) => /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(String(given)), { error: "expected a host name" }),
  { error: 'expected a list of host names without ports, like ["annals.example.com"]' },
).optional();

/** The schema of `domain.toml`. */
export const configSchema = z.strictObject({
  ...processing,
  domains: z.record(z.string(), text, table).optional(),
  brokers: z.strictObject({
    default: z.strictObject({
      provider: choice("memory", "sqlite", "redis"),
      url: text.optional(),
      prefix: z.preprocess(asText, z.string({ error: "expected a string" })).optional(),
      ...processing,
    }, table).optional(),
  }, table).optional(),
  event_store: z.strictObject({
    provider: choice("memory", "sqlite", "postgres"),
    url: text.optional(),
    schema: z.preprocess(
      asText,
      z.string().regex(/^[A-Za-z_][\w{}]{0,40}$/, { error: 'expected a name of letters, digits and _, like "annals"' }),
    ).optional(),
    listen_url: text.optional(),
    sql_role: z.preprocess(
      asText,
      z.string().regex(/^[A-Za-z_][\w$]{0,62}$/, { error: "expected the name of a role" }),
    ).optional(),
    synchronous: choice("full", "normal"),
    max_message_bytes: whole(1_024, LONGEST_JSON),
  }, table).optional(),
  publishers: z.record(
    z.string(),
    z.strictObject({
      url: text.optional(),
      secret: secrets,
      timeout_seconds: seconds(0.1, 300),
      stream: text.optional(),
      redis: text.optional(),
      max_length: whole(1, 1_000_000_000),
    }, table),
    table,
  ).optional(),
  subscribers: z.record(
    z.string(),
    z.strictObject({ stream: text.optional(), group: text.optional(), redis: text.optional(), secret: secrets }, table),
    table,
  ).optional(),
  server: z.strictObject({
    http: z.strictObject({
      listen: address,
      hosts: hostNames,
      token,
      users: z.record(
        z.string().regex(/^(?!(?:token|local)$)[^\s:]{1,100}$/, {
          error: "expected a name without spaces and colons, and neither token nor local",
        }),
        passwordHash,
        table,
      ).optional(),
      api: flag,
      dashboard: flag,
      ready_max_lag: seconds(0, 31_536_000),
    }, table).optional(),
    default_subscription_type: choice("stream", "event_store"),
    messages_per_tick: subscription.messages_per_tick,
    handler_timeout_seconds: subscription.handler_timeout_seconds,
    shutdown_timeout_seconds: seconds(0.1, 3_600),
    keep_outcomes: age,
    projection_swap: choice("auto", "manual"),
    rebuild_share: share,
    keep_idempotency_keys: age,
    telemetry: z.strictObject({ parent: choice("never", "first"), sample: fraction }, table).optional(),
    max_heap_mb: whole(64, 1_000_000),
    host_memory_mb: whole(64, 1_000_000),
    handlers_per_worker: whole(1, 1_000),
    hosts: z.record(
      z.string(),
      z.union([z.array(text), z.literal("each")], {
        error: 'expected a list of groups, like ["A", "B"]; "*" = "each" gives every group a host of its own',
      }),
      table,
    ).optional(),
    stream_subscription: z.strictObject(subscription, table).optional(),
    event_store_subscription: z.strictObject(subscription, table).optional(),
    subscriptions: z.record(
      z.string(),
      z.strictObject({ type: choice("stream", "event_store"), ...subscription }, table),
      table,
    ).optional(),
    workers: z.record(z.string(), whole(1, 64), table).optional(),
    partitions: z.record(z.string(), whole(1, 64), table).optional(),
    permissions: z.record(z.string(), permissions, table).optional(),
  }, table).optional(),
}, table);

/** The validated contents of `domain.toml`. */
export type ConfigFile = z.infer<typeof configSchema>;

/** The valid keys of a table at a path; empty if any key is valid. */
export function knownKeys(path: readonly PropertyKey[]): string[] {
  let schema: unknown = configSchema;
  for (const step of path) {
    schema = inner(schema);
    if (schema instanceof z.ZodObject) schema = schema.shape[step as string];
    else if (schema instanceof z.ZodRecord) schema = schema.valueType;
    else return [];
  }
  schema = inner(schema);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function inner(schema: unknown): unknown {
  while (schema instanceof z.ZodOptional) schema = schema.unwrap();
  return schema;
}
