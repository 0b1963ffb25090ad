import { existsSync } from "node:fs";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/config.ts";
import { locate, openStore } from "../adapters/open.ts";
import { findDomain } from "../engine/domain_path.ts";
import { Engine } from "../engine/engine.ts";
import { socketPath } from "../adapters/socket.ts";
import type { Operator as Operated } from "../operating/operator.ts";
import { UsageError } from "./run.ts";

/** Options common to all commands. */
export interface GlobalOptions {
  /** The configuration. */
  readonly config?: string;
  /** The domain. */
  readonly domain?: string;
}

/** What a command works on. */
export interface Operator extends Operated {
  /** The domain's module: a URL. */
  readonly module: string;
}

/**
 * Resolves the module of the selected domain.
 *
 * @param options The command's options; the default is the only configured domain.
 * @param config The configuration.
 * @returns A URL.
 */
export function chooseDomain(options: GlobalOptions, config: Config): string {
  const names = Object.keys(config.domains);
  const name = options.domain ?? (names.length === 1 ? names[0] : names.length === 0 ? domainHere() : undefined);
  if (name === undefined) {
    throw new UsageError(
      `Name a domain, like --domain=${names[0] ?? "./domain.ts"}; known: ${names.join(", ") || "none"}`,
    );
  }
  return findDomain(name, config);
}

/** The module of a project's only domain, in the current folder. */
function domainHere(): string | undefined {
  return existsSync("domain.ts") ? "./domain.ts" : undefined;
}

/** Loads the configuration, and describes the selected domain. */
export async function describeChosen(options: GlobalOptions): Promise<Omit<Operator, "store">> {
  const config = loadConfig({ file: options.config });
  const module = chooseDomain(options, config);
  return { config, module, domain: await new Engine({ module, config }).describe() };
}

/**
 * Opens a domain's store for a command. Domain code still runs only in a host process.
 *
 * @param options The command's options; the default is the only configured domain.
 * @param work What to do with the store.
 */
export async function withOperator(options: GlobalOptions, work: (operator: Operator) => Promise<void>): Promise<void> {
  const { config, module, domain } = await describeChosen(options);
  const store = await openStore(locate(config.store, domain.name), {
    create: false,
    domain: domain.name,
    socket: socketPath(config.folder, domain.name),
  });
  try {
    await work({ config, module, domain, store });
  } finally {
    await store.close();
  }
}
