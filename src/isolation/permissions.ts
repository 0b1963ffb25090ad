import { fileURLToPath } from "node:url";
import type { PermissionGrant } from "../config/config.ts";
import type { DomainDescription } from "./protocol.ts";
import { NO_SERVER_FILES, type ServerFiles, visibleIn } from "./visible_files.ts";

/** The top folder of this package. */
export const PACKAGE_ROOT: string = new URL("../../", import.meta.url).href;

/**
 * Where the domain's module and this package are loaded from. All permissions of a server come from the same object: its
 * folder is listed once, so that no worker asks for a file that its host does not know.
 */
export interface CodeLocation {
  /** The domain's module: a URL. */
  readonly module: string;
  /** This package: the URL of its top folder. @default {where this runs from} */
  readonly root?: string;
  /** The server's own files, which handlers may not read. @default {none} */
  readonly serverFiles?: ServerFiles;
}

type Kind = "net" | "env" | "read" | "write";
const KINDS: readonly Kind[] = ["net", "env", "read", "write"];

interface Access {
  readonly read: readonly string[];
  readonly import: readonly string[];
}

/** What was found for each location. */
const known = new WeakMap<CodeLocation, Access>();

/** The files and hosts that imports need access to. */
function codeAccess(code: CodeLocation): Access {
  let access = known.get(code);
  if (!access) known.set(code, access = findAccess(code));
  return access;
}

function findAccess({ module, root = PACKAGE_ROOT, serverFiles = NO_SERVER_FILES }: CodeLocation): Access {
  const read: string[] = [];
  const hosts: string[] = [];
  // Only the modules of this package, not the files next to them.
  const own = new URL(".", module);
  if (own.protocol === "file:") read.push(...visibleIn(fileURLToPath(own).replace(/(?<=.)\/$/, ""), serverFiles));
  else if (own.host) hosts.push(own.port ? own.host : `${own.host}:443`);
  for (const url of [new URL("mod.ts", root), new URL("src/", root)]) {
    if (url.protocol === "file:") read.push(fileURLToPath(url).replace(/(?<=.)\/$/, ""));
    else if (url.host) hosts.push(url.port ? url.host : `${url.host}:443`);
  }
  return { read, import: [...new Set(hosts)] };
}

function listed(...lists: (readonly string[] | undefined)[]): string[] | false {
  const all = [...new Set(lists.flatMap((list) => list ?? []))];
  return all.length > 0 ? all : false;
}

/**
 * The permissions of a worker: reading its code, and what the operator granted. Never run, ffi or sys, and no access to
 * store or broker.
 *
 * @param code Where its code comes from.
 * @param grant What the operator granted.
 * @returns For `new Worker(…, { deno: { permissions } })`.
 */
export function workerPermissions(code: CodeLocation, grant: PermissionGrant): Deno.PermissionOptionsObject {
  const access = codeAccess(code);
  return {
    read: listed(access.read, grant.read),
    write: listed(grant.write),
    net: listed(grant.net),
    env: listed(grant.env),
    import: listed(access.import),
    run: false,
    ffi: false,
    sys: false,
  };
}

/**
 * The permissions of a host: reading the code, and everything granted to any of its groups.
 *
 * @param code Where the code comes from.
 * @param grants What the operator granted to each of its groups.
 * @param socket Where the engine listens: the path of a Unix socket, or a local port.
 * @returns Flags for `deno run`.
 */
export function hostFlags(
  code: CodeLocation,
  grants: readonly PermissionGrant[],
  socket: string | number,
): string[] {
  const access = codeAccess(code);
  const path = typeof socket === "string" ? [socket] : [];
  const net = typeof socket === "string" ? [`unix:${socket}`] : [`127.0.0.1:${socket}`];
  const of = (kind: Kind) => grants.flatMap((grant) => grant[kind] ?? []);
  const lists: Record<string, string[] | false> = {
    read: listed(access.read, path, of("read")),
    write: listed(path, of("write")),
    net: listed(net, of("net")),
    env: listed(of("env")),
    import: listed(access.import),
  };
  // Deno escapes a comma in a path by doubling it.
  return Object.entries(lists).filter(([, list]) => list !== false)
    .map(([kind, list]) => `--allow-${kind}=${(list as string[]).map((one) => one.replaceAll(",", ",,")).join(",")}`);
}

/** Adds access to the engine's socket to permissions. */
export function withSocket(
  permissions: Deno.PermissionOptionsObject,
  socket: string | number,
): Deno.PermissionOptionsObject {
  const list = (given: unknown): string[] => Array.isArray(given) ? given : [];
  if (typeof socket === "number") return { ...permissions, net: [...list(permissions.net), `127.0.0.1:${socket}`] };
  return {
    ...permissions,
    read: [...list(permissions.read), socket],
    write: [...list(permissions.write), socket],
    net: [...list(permissions.net), `unix:${socket}`],
  };
}

/** The lines of `domain.toml` that grant a group's request. */
function lines(group: string, missing: PermissionGrant): string {
  const section = /^\w+$/.test(group) ? group : JSON.stringify(group);
  return [
    `[server.permissions.${section}]`,
    ...KINDS.filter((kind) => missing[kind]?.length).map((kind) => `${kind} = ${JSON.stringify(missing[kind])}`),
  ].join("\n");
}

/** Whether a grant covers one thing that was asked for. */
function covers(kind: Kind, granted: readonly string[], asked: string, absolute: (path: string) => string): boolean {
  if (kind === "env") return granted.includes(asked);
  if (kind === "net") return granted.some((host) => host === asked || host === asked.replace(/:\d+$/, ""));
  const path = absolute(asked);
  return granted.some((folder) => path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`));
}

/**
 * Finds the permissions that handlers request and the operator has not granted.
 *
 * @param domain The domain.
 * @param grants What the operator granted, by group.
 * @param absolute Makes a path absolute.
 * @returns The lines to add to `domain.toml`; `null` when nothing is missing.
 */
export function ungranted(
  domain: DomainDescription,
  grants: (group: string) => PermissionGrant,
  absolute: (path: string) => string,
): string | null {
  const sections: string[] = [];
  for (const { name, permissions } of domain.handlers) {
    const grant = grants(name);
    const missing = Object.fromEntries(
      KINDS.map((kind) => [
        kind,
        (permissions[kind] ?? []).filter((asked) => !covers(kind, grant[kind] ?? [], asked, absolute)),
      ]),
    ) as PermissionGrant;
    // The file has one list per kind, so include what is already granted.
    const full = Object.fromEntries(
      KINDS.filter((kind) => missing[kind]!.length > 0).map((
        kind,
      ) => [kind, [...grant[kind] ?? [], ...missing[kind]!]]),
    );
    if (Object.keys(full).length > 0) sections.push(lines(name, full));
  }
  return sections.length > 0 ? sections.join("\n") : null;
}

/**
 * Explains a permission error: what to add to `domain.toml`.
 *
 * @param text The error's text.
 * @param group The consumer group, or `*` for the module as a whole.
 * @returns The error's text, with the line that would grant the permission.
 */
export function explainRefusal(text: string, group: string): string {
  text = text.replace(/^NotCapable: /, "");
  const refused = /Requires (\w+) access(?: to "?([^"]*?)"?)?(?:,|$)/.exec(text);
  if (!refused) return text;
  const [, kind, what] = refused;
  if (!what || !KINDS.includes(kind as Kind)) {
    return `Refused ${kind} access${what ? ` to "${what}"` : ""}: it cannot be granted to a handler`;
  }
  const section = /^\w+$/.test(group) ? group : JSON.stringify(group);
  return `Refused ${kind} access to "${what}"; to allow it, add to domain.toml, under [server.permissions.${section}]: ${kind} = ["${what}"]`;
}
