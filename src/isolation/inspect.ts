import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { NO_REPORT, type Report } from "../telemetry/events.ts";
import { REAL_CLOCK } from "../lib/clock.ts";
import { redactUrl } from "../lib/redact_url.ts";
import { storable } from "../messages/text.ts";
import { textOf } from "../messages/thrown.ts";
import type { Config } from "../config/config.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { WorkerEndedError } from "../handling/errors.ts";
import { ModuleLoadError } from "./errors.ts";
import { HostPool, type Unit } from "./host_pool.ts";
import { resolution } from "./own_flags.ts";
import { serverFilesOf } from "./visible_files.ts";
import { inParts } from "../store/large.ts";
import { type CodeLocation, hostFlags, workerPermissions } from "./permissions.ts";
import { descriptionSchema, type DomainDescription, type ReadPayload } from "./protocol.ts";

/** The host that all groups share by default. */
export const MAIN_HOST = "main";

/** The host of the worker that answers questions while the engine runs: what it does there ends no group. */
const ASKED_HOST = "asked while running";

/** The worker that describes the domain; it has the permissions granted to all groups. */
const INSPECTOR = "The domain's module";

/** The most messages that are decoded at a time. */
const MOST_DECODED = 1_000;

function environment(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  }));
}

/** The environment variables granted to a group. */
export function environmentOf(config: Config, group: string): Record<string, string> {
  return environment(config.grants(group).env ?? []);
}

/** Where a domain's code is, and what of it its handlers may see. */
export function codeOf(module: string, config: Config): CodeLocation {
  return { module, serverFiles: serverFilesOf(config) };
}

/** Creates the host pool of a domain's module. */
export function poolFor(code: CodeLocation, config: Config, report: Report): HostPool {
  // The groups are not known yet: take all groups with grants that may be placed in this host.
  const known = config.grantedGroups.filter((group) => group === "*" || config.hostOf(group) === MAIN_HOST);
  // What everybody was granted, the worker of no group needs as well.
  const grantsOf = (groups: readonly string[] | null) => [...new Set(["*", ...groups ?? known])].map(config.grants);
  return new HostPool({
    flags: (groups, address) => hostFlags(code, grantsOf(groups), address),
    env: (groups) => environment(grantsOf(groups).flatMap(({ env = [] }) => env)),
    limits: { heapMb: config.maxHeapMb, memoryMb: config.hostMemoryMb },
    report,
  });
}

/**
 * Downloads modules and their imports into the cache, which is all that hosts load from.
 *
 * @returns The reason for a failure; `null` on success.
 */
async function cache(...modules: string[]): Promise<string | null> {
  const isTerminal = Deno.stderr.isTerminal();
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--no-check", ...resolution(import.meta.url).flags, ...modules],
    stdin: "null",
    stdout: "null",
    // Show download progress on a terminal only.
    stderr: isTerminal ? "inherit" : "piped",
    env: { NO_COLOR: "1" },
  }).output();
  if (success) return null;
  const [first] = isTerminal ? ["see above"] : new TextDecoder().decode(stderr).split("\n");
  return storable(first, 1_000);
}

/** How many times a host that ends while loading the module is restarted. */
const MOST_TRIES = 4;

/** Deno's messages for modules missing from the cache or the lock file. */
const NOT_CACHED = /cache|lockfile|npm package|not a dependency|Module not found|Loading unprepared module/i;

/**
 * Asks a domain's code for its description. It runs in a host, in a worker with the permissions granted to all groups.
 *
 * @param pool The hosts.
 * @param code Where the domain's module is.
 * @param config The configuration, for its grants.
 * @returns The validated description.
 * @throws {ModuleLoadError} If the module cannot be loaded or exports no domain.
 */
export async function inspect(pool: HostPool, code: CodeLocation, config: Config): Promise<DomainDescription> {
  return await withInspector(pool, code, config, async () => {
    const answer = await pool.ask(INSPECTOR, { t: "describe" });
    const checked = descriptionSchema.safeParse((answer as { description: unknown }).description);
    if (checked.success) return checked.data;
    const [{ path, message }] = checked.error.issues;
    throw new ModuleLoadError(
      `its description is invalid (${
        path.join(".")
      }: ${message}); are this package and the one that the domain imports of the same version?`,
    );
  });
}

/** The worker that answers what the engine asks outside of any session. */
export function inspectorUnit(code: CodeLocation, config: Config, home: string = ASKED_HOST): Unit {
  const permissions = workerPermissions(code, config.grants("*"));
  const spec = { module: code.module, permissions, env: environmentOf(config, "*") };
  return { name: INSPECTOR, home, groups: [], spec };
}

async function withInspector<T>(
  pool: HostPool,
  code: CodeLocation,
  config: Config,
  work: () => Promise<T>,
): Promise<T> {
  const { module } = code;
  const own = ["./host.ts", "./worker.ts"].map((name) => new URL(name, import.meta.url).href);
  // Nothing imports these modules, so if this package is remote, they were not downloaded with the rest.
  const failure = /^https?:/.test(own[0]) ? await cache(...own, module) : null;
  if (failure !== null) throw new ModuleLoadError(failure);
  pool.prepare(MAIN_HOST);
  pool.add(inspectorUnit(code, config, MAIN_HOST));
  try {
    for (let tries = 1;; tries++) {
      try {
        return await work();
      } catch (error) {
        if (tries === MOST_TRIES) throw new ModuleLoadError(textOf(error));
        if (!(error instanceof ModuleLoadError)) {
          // Its host was ended by another worker or failed to start; this may be transient.
          await REAL_CLOCK.sleep(100 * tries);
          continue;
        }
        if (!NOT_CACHED.test(error.message) || tries > 1) throw error;
        // Hosts load from the cache only: download what is missing, once.
        const failure = await cache(module);
        if (failure !== null) throw new ModuleLoadError(`${error.message} (${failure})`);
        await pool.restart(MAIN_HOST);
      }
    }
  } finally {
    pool.remove(INSPECTOR);
  }
}

/** Decodes and upcasts stored payloads: one per message, in order. */
export type Decode = (records: readonly MessageRecord[]) => Promise<readonly ReadPayload[]>;

/**
 * Decodes stored payloads with the domain's code, in a separate host.
 *
 * @param module The domain's module: a URL.
 * @param config The configuration, for its grants.
 * @param work What to do with it; may be begun again if the host ends.
 * @returns What `work` returns.
 * @throws {ModuleLoadError} If the module cannot be loaded.
 */
export async function withDecoder<T>(module: string, config: Config, work: (decode: Decode) => Promise<T>): Promise<T> {
  const code = codeOf(module, config);
  const pool = poolFor(code, config, NO_REPORT);
  const decode: Decode = async (records) => {
    const payloads: ReadPayload[] = [];
    for (const part of inParts(records, MOST_DECODED)) {
      const answer = await pool.ask(INSPECTOR, { t: "decode", records: part });
      payloads.push(...(answer as { payloads: ReadPayload[] }).payloads);
    }
    return payloads;
  };
  try {
    const done = await withInspector(pool, code, config, async () => {
      try {
        return { result: await work(decode) };
      } catch (error) {
        // Only what concerns the host is tried again.
        if (error instanceof ModuleLoadError || error instanceof WorkerEndedError) throw error;
        return { error };
      }
    });
    if ("error" in done) throw done.error;
    return done.result;
  } finally {
    await pool.stop();
  }
}

/**
 * Decodes and upcasts stored payloads with the domain's code, in a separate host.
 *
 * @param module The domain's module: a URL.
 * @param config The configuration, for its grants.
 * @param records The messages.
 * @returns One payload per message, in order.
 * @throws {ModuleLoadError} If the module cannot be loaded.
 */
export async function readPayloads(
  module: string,
  config: Config,
  records: readonly MessageRecord[],
): Promise<readonly ReadPayload[]> {
  return await withDecoder(module, config, (decode) => decode(records));
}

/** URLs that may have a password; those of modules may have an @ in their path. */
const WITH_SECRET = /\b(?!https?:|file:)[a-z][a-z\d+.-]*:\/\/\S+|\bhttps?:\/\/[^\s/]*@\S+/gi;

/** Formats the reason why a domain cannot be loaded. */
export function explainLoad(module: string, error: unknown): string {
  const text = textOf(error).replace(/^(ModuleLoadError: |WorkerEndedError: )+/, "")
    .replace(WITH_SECRET, redactUrl);
  // A worker may not look whether there is what it may not read.
  const [, path] = /Refused read access to "([^"]+)"/.exec(text) ?? [];
  const isMissing = path !== undefined && isAbsolute(path) && !existsSync(path);
  return `Cannot load the domain from ${module}: ${isMissing ? `"${path}" does not exist` : text}`;
}
