import { readFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import process from "node:process";
import { parse, TomlError } from "smol-toml";
import { ConfigError, type ConfigFault } from "./errors.ts";
import { interpolate } from "./interpolate.ts";
import { isMissing } from "../lib/platform.ts";
import { redactUrl } from "../lib/redact_url.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { resolveConfig } from "./resolve.ts";
import { type ConfigFile, configSchema, Interpolated, knownKeys } from "./schema.ts";
import { withVariables } from "./variables.ts";
import type { Config } from "./config.ts";

/** Settings of {@linkcode loadConfig}. */
export interface LoadOptions {
  /** The file. @default {`domain.toml` in the current folder, if it exists} */
  readonly file?: string | undefined;
  /** The configuration itself, instead of a file. */
  readonly text?: string;
  /** Looks up an environment variable. @default {process.env} */
  readonly env?: (name: string) => string | undefined;
  /** The number of workers of groups not named in `[server.workers]`. @default {`[server.workers] "*"`, or 1} */
  readonly workers?: number;
}

type Table = Record<string, unknown>;

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) !== Date.prototype &&
    !Array.isArray(value) && !(value instanceof Interpolated) && !(value instanceof Date);
}

function merge(base: Table, over: Table, from: string, origins: Map<string, string>, path = ""): Table {
  const merged: Table = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const key = path ? `${path}.${name}` : name;
    const below = merged[name];
    if (isTable(value)) merged[name] = merge(isTable(below) ? below : {}, value, from, origins, key);
    else {
      merged[name] = value;
      origins.set(key, from);
    }
  }
  return merged;
}

function show(value: unknown): string {
  if (value instanceof Interpolated) return JSON.stringify(redactUrl(value.text));
  if (isTable(value)) return "{…}";
  return typeof value === "string" ? JSON.stringify(redactUrl(value)) : JSON.stringify(value) ?? String(value);
}

/** The value of a key that is not known: a text may be a password. */
function showUnknown(value: unknown): string {
  if (isTable(value)) return " = {…}";
  return typeof value === "number" || typeof value === "boolean" ? ` = ${value}` : "";
}

function at(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const step of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[step];
  return value;
}

/** Keys whose values are not shown. */
const SECRET_KEYS = ["secret", "token", "users"];

function check(raw: unknown): { readonly file: ConfigFile } | { readonly faults: ConfigFault[] } {
  const result = configSchema.safeParse(raw);
  if (result.success) return { file: result.data };
  const faults = result.error.issues.flatMap((issue): ConfigFault[] => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((name) => {
        const key = [...issue.path, name].join(".");
        return {
          key: `${key}${showUnknown(at(raw, [...issue.path, name]))}`,
          message: `there is no such key${didYouMean(name, knownKeys(issue.path))}`,
        };
      });
    }
    const key = issue.path.join(".");
    // Also of one that is not valid.
    if (SECRET_KEYS.some((name) => issue.path.includes(name))) return [{ key, message: issue.message }];
    return [{ key: `${key} = ${show(at(raw, issue.path))}`, message: issue.message }];
  });
  return { faults };
}

function read(file: string, given: boolean): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (isMissing(error) && !given) return null;
    const why = isMissing(error)
      ? "there is no such file"
      : (error as { code?: string }).code === "EISDIR"
      ? "it is a folder; name the file in it"
      : `cannot be read: ${error instanceof Error ? error.message : error}`;
    throw new ConfigError(file, [{ key: "", message: why }]);
  }
}

function parseFile(file: string, text: string): Table {
  try {
    return shallow(file, parse(text) as Table);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n")[0].replace("Invalid TOML document: ", "");
    throw new ConfigError(file, [{ key: `line ${error.line}, column ${error.column}`, message: `not TOML: ${what}` }]);
  }
}

/** How deeply a file may be nested; no key is deeper than a few levels. */
const DEEPEST = 20;

/** Refuses what is nested so deeply that whatever walks through it would run out of stack. */
function shallow(file: string, table: Table): Table {
  let level: unknown[] = [table];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) {
      throw new ConfigError(file, [{ key: "", message: `tables are nested more than ${DEEPEST} levels deep` }]);
    }
    if (level.some((value) => typeof value === "object" && value !== null && Object.hasOwn(value, "__proto__"))) {
      throw new ConfigError(file, [{ key: "__proto__", message: "nothing can have this name" }]);
    }
    level = level.flatMap((value) => typeof value === "object" && value !== null ? Object.values(value) : []);
  }
  return table;
}

/**
 * Loads the configuration: file, variables, overlay of `ANNALS_ENV`, defaults. Where the file does not say where the store
 * or the broker is, or if there is no file, `DATABASE_URL` and `REDIS_URL` do.
 *
 * @param options The file and the environment.
 * @returns The effective configuration.
 * @throws {ConfigError} If it is invalid; lists all faults.
 */
export function loadConfig(options: LoadOptions = {}): Config {
  const { env = (name) => process.env[name] } = options;
  const file = options.file ?? (options.text === undefined ? "domain.toml" : "text");
  const text = options.text ?? read(file, options.file !== undefined);
  const origins = new Map<string, string>();
  let raw: Table = {};
  if (text !== null) {
    const { env: overlays, ...base } = parseFile(file, text);
    raw = merge({}, base, file, origins);
    const name = env("ANNALS_ENV");
    if (overlays !== undefined && !isTable(overlays)) {
      throw new ConfigError(file, [{
        key: `env = ${show(overlays)}`,
        message: "expected tables like [env.production]",
      }]);
    }
    if (name && !isTable(overlays?.[name])) {
      const known = Object.keys(overlays ?? {});
      throw new ConfigError(file, [{
        key: `[env.${name}]`,
        message: `ANNALS_ENV is "${name}", but there is no such section${didYouMean(name, known)}`,
      }]);
    }
    // Validate unused overlays too, so that a mistake in production settings is found in development.
    const faults = Object.entries(overlays ?? {}).flatMap(([overlay, value]) => {
      if (overlay === name) return [];
      const result = check(unresolved(value));
      return "faults" in result ? result.faults.map((fault) => ({ ...fault, key: `env.${overlay}.${fault.key}` })) : [];
    });
    if (faults.length > 0) throw new ConfigError(file, faults);
    if (name) raw = merge(raw, overlays![name] as Table, `[env.${name}] of ${file}`, origins);
  }
  const [faults, unset]: [ConfigFault[], ConfigFault[]] = [[], []];
  raw = interpolate(raw, {
    env,
    onValue: (key, variable, set) => {
      const from = origins.get(key.replace(/\[\d+\]$/, ""));
      origins.set(key, set ? `${variable} (environment), by ${from}` : `${from} (${variable} is not set)`);
    },
    onFault: (fault) => void faults.push(fault),
    onUnset: (fault) => void (SERVERS_ONLY.test(fault.key) ? unset : faults).push(fault),
  }) as Table;
  if (faults.length > 0) throw new ConfigError(file, faults);
  const result = check(unset.length === 0 ? raw : ofClients(raw));
  if ("faults" in result) throw new ConfigError(file, result.faults);
  const folder = text === null ? process.cwd() : dirname(isAbsolute(file) ? file : join(process.cwd(), file));
  return resolveConfig(withVariables(result.file, env, origins), {
    file: text === null ? null : file,
    folder: resolve(folder),
    origins,
    unset,
    ...(options.workers !== undefined && { workers: options.workers }),
  });
}

/** What programs that only read or send do not look at: they need not have the secrets of servers. */
const SERVERS_ONLY = /^(server\.http|publishers|subscribers)\./;

/** A file without what only servers look at. */
function ofClients({ server, publishers: _publishers, subscribers: _subscribers, ...raw }: Table): Table {
  if (!isTable(server)) return { ...raw, server };
  const { http: _, ...rest } = server;
  return { ...raw, server: rest };
}

/**
 * Checks that a server can run with a configuration: that the variables are set which only servers need.
 *
 * @param config The configuration.
 * @throws {ConfigError} If some are not set; lists them.
 */
export function checkComplete({ file, unset }: Config): void {
  if (unset.length > 0) throw new ConfigError(file, unset);
}

/** Variables of unused overlays are not looked up: what depends on one is left out. */
function unresolved(value: unknown): unknown {
  const isKnown = (part: unknown) => typeof part !== "string" || !part.includes("${");
  if (Array.isArray(value)) {
    const known = value.filter(isKnown).map(unresolved);
    return known.length < value.length && known.length === 0 ? undefined : known;
  }
  if (!isTable(value)) return value;
  const known = Object.entries(value).filter(([, part]) => isKnown(part));
  return Object.fromEntries(known.map(([name, part]) => [name, unresolved(part)]));
}
