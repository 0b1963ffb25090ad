import type { ConfigFile } from "./schema.ts";

/** The adapters of each scheme. */
export const SCHEMES: Readonly<Record<string, string>> = {
  "memory": "memory",
  "sqlite": "sqlite",
  "redis": "redis",
  "rediss": "redis",
  "postgres": "postgres",
  "postgresql": "postgres",
};

/** The scheme of a URL, in lower case; `undefined` if it has none. */
export function schemeOf(url: string): string | undefined {
  return /^([a-z]+):/i.exec(url)?.[1].toLowerCase();
}

/** Where a store or a broker is, as far as the file says so. */
interface Place {
  readonly provider?: string | undefined;
  readonly url?: string | undefined;
}

/** Takes a variable for the URL of a place whose file names none, and no other adapter either. */
function placeBy<P extends Place>(
  place: P | undefined,
  variable: string,
  key: string,
  env: (name: string) => string | undefined,
  origins: Map<string, string>,
): P | undefined {
  const url = env(variable);
  // An empty variable counts as unset.
  if (!url || place?.url !== undefined) return place;
  if (place?.provider !== undefined && SCHEMES[schemeOf(url) ?? ""] !== place.provider) return place;
  origins.set(`${key}.url`, `${variable} (environment)`);
  return { ...place as P, url };
}

/**
 * Takes `DATABASE_URL` and `REDIS_URL` for the URLs of the store and the broker, unless the file says where they are.
 *
 * @param file The validated file; empty if there is none.
 * @param env Looks up a variable.
 * @param origins Where each value comes from; what is taken is added.
 * @returns The file, with these URLs.
 */
export function withVariables(
  file: ConfigFile,
  env: (name: string) => string | undefined,
  origins: Map<string, string>,
): ConfigFile {
  const store = placeBy(file.event_store, "DATABASE_URL", "event_store", env, origins);
  const broker = placeBy(file.brokers?.default, "REDIS_URL", "brokers.default", env, origins);
  return { ...file, ...(store && { event_store: store }), ...(broker && { brokers: { default: broker } }) };
}
