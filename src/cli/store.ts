import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { locate } from "../adapters/open.ts";
import { Engine } from "../engine/engine.ts";
import { chooseDomain, type GlobalOptions } from "./operator.ts";

/** `annals store …` */
export function addStore(program: Command): void {
  const store = program.command("store").description("manage the event store");
  store.command("migrate").description("create the tables or update them to this version").action(async () => {
    const options = program.opts<GlobalOptions>();
    const config = loadConfig({ file: options.config });
    const module = chooseDomain(options, config);
    const { name } = await new Engine({ module, config }).describe();
    const { provider, url, schema } = locate(config.store, name);
    if (provider !== "postgres") {
      console.log(`The ${provider} store creates its tables automatically; nothing to do`);
      return;
    }
    const { PostgresEventStore } = await import("../store/postgres/store.ts");
    const opened = new PostgresEventStore({ url, schema });
    try {
      const applied = await opened.migrate();
      for (const migration of applied) console.log(`Applied: ${migration}`);
      if (applied.length === 0) console.log(`Schema "${schema}" of ${opened.location} is up to date`);
    } finally {
      await opened.close();
    }
  });
}
