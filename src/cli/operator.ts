import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/config.ts";
import { locate, openStore } from "../adapters/open.ts";
import { findDomain } from "../engine/domain_path.ts";
import { Engine } from "../engine/engine.ts";
import { socketPath } from "../adapters/socket.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import type { EventStore } from "../store/port.ts";
import { UsageError } from "./run.ts";

/** What every command of the operator can be told. */
export interface GlobalOptions {
  /** The configuration. */
  readonly config?: string;
  /** The domain. */
  readonly domain?: string;
}

/** What the operator looks at. */
export interface Operator {
  /** The configuration. */
  readonly config: Config;
  /** The domain's module: a URL. */
  readonly module: string;
  /** What the domain contains. */
  readonly domain: DomainDescription;
  /** Its store. */
  readonly store: EventStore;
}

/**
 * Finds the module of the domain that is meant.
 *
 * @param options What was asked for; the only domain of the configuration when it is not said.
 * @param config The configuration.
 * @returns A URL.
 */
export function chooseDomain(options: GlobalOptions, config: Config): string {
  const names = Object.keys(config.domains);
  const name = options.domain ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined) {
    throw new UsageError(
      `Name a domain, like --domain=${names[0] ?? "./domain.ts"}; known: ${names.join(", ") || "none"}`,
    );
  }
  return findDomain(name, config);
}

/**
 * Opens a domain's store for an operator. Domain code runs only in a host process.
 *
 * @param options Which domain; the only one of the configuration when it is not said.
 * @param work What to do with it.
 */
export async function withOperator(options: GlobalOptions, work: (operator: Operator) => Promise<void>): Promise<void> {
  const config = loadConfig({ file: options.config });
  const module = chooseDomain(options, config);
  const domain = await new Engine({ module, config }).describe();
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
