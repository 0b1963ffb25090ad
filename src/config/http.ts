import { isIP } from "node:net";
import type { HttpConfig } from "./config.ts";
import { ConfigError } from "./errors.ts";
import type { ConfigFile } from "./schema.ts";

/** Where the server listens, unless it is told. */
const LISTEN = "127.0.0.1:8440";

/** Whether only programs of this machine can reach an address. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || (isIP(hostname) === 4 && hostname.startsWith("127."));
}

/** Whether there is a way to say who one is. */
export function isGuarded({ token, users }: Pick<HttpConfig, "token" | "users">): boolean {
  return token !== null || users.size > 0;
}

/** Whether everybody who reaches the address may do everything. */
export function isOpen(http: HttpConfig): boolean {
  return !isGuarded(http) && http.address !== null && isLoopback(http.address.hostname);
}

/**
 * Resolves what is served by HTTP.
 *
 * @param given The section of the file.
 * @param file The name of the file.
 * @returns What is served; and the effective values, by key, without secrets.
 * @throws {ConfigError} If others could do everything.
 */
export function httpOf(
  given: NonNullable<ConfigFile["server"]>["http"] = {},
  file: string | null,
): { readonly http: HttpConfig; readonly values: Readonly<Record<string, unknown>> } {
  const { listen = LISTEN, hosts = [], token, users = {}, api = false, dashboard = true } = given;
  const at = listen.lastIndexOf(":");
  const address = listen === "off"
    ? null
    : { hostname: listen.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(listen.slice(at + 1)) };
  const http: HttpConfig = {
    address,
    hosts: hosts.map((name) => String(name).toLowerCase()),
    token: token === undefined ? null : String(token),
    users: new Map(Object.entries(users) as [string, string][]),
    api,
    dashboard,
    readyMaxLag: given.ready_max_lag ?? Infinity,
  };
  if (address !== null && !isLoopback(address.hostname) && !isGuarded(http) && (api || dashboard)) {
    throw new ConfigError(file, [{
      key: `server.http.listen = "${listen}"`,
      message:
        'can be reached from other machines, so it needs token = "${ANNALS_TOKEN}" or users; or serve only webhooks and probes there: dashboard = false',
    }]);
  }
  if (address !== null && api && http.token === null) {
    throw new ConfigError(file, [{
      key: "server.http.api = true",
      message: 'needs a token for the programs that send commands: token = "${ANNALS_TOKEN}"',
    }]);
  }
  return {
    http,
    values: {
      "server.http.listen": listen,
      "server.http.api": api,
      "server.http.dashboard": dashboard,
      ...(hosts.length > 0 && { "server.http.hosts": http.hosts }),
      ...(token !== undefined && { "server.http.token": "***" }),
      ...Object.fromEntries([...http.users.keys()].map((name) => [`server.http.users.${name}`, "***"])),
      ...(given.ready_max_lag !== undefined && { "server.http.ready_max_lag": given.ready_max_lag }),
    },
  };
}
