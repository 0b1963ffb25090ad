import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { findDomain } from "../engine/domain_path.ts";
import { Engine } from "../engine/engine.ts";
import type { GlobalOptions } from "./operator.ts";
import { print, table } from "./output.ts";

/** `annals config …` */
export function addConfig(program: Command): void {
  const config = program.command("config").description("what the server is told");
  const load = () => loadConfig({ file: program.opts<GlobalOptions>().config });
  config.command("check").description("say whether the configuration can be used; with --domain also by that domain")
    .option("--json", "print one JSON document")
    .action(async (options) => {
      const config = load();
      const { file, domains } = config;
      // A module that is not there is a mistake of the file, too.
      for (const name of Object.keys(domains)) findDomain(name, config);
      const { domain } = program.opts<GlobalOptions>();
      if (domain !== undefined) await new Engine({ module: findDomain(domain, config), config }).describe();
      print(options.json, { file, ok: true }, () => `${file ?? "No file: defaults"}: all is well.`);
    });
  config.command("show").description("what is in effect, and where it comes from")
    .option("--json", "print one JSON document")
    .action((options) => {
      const { values } = load();
      print(options.json, values, () =>
        table(
          ["key", "value", "from"],
          values.map(({ key, value, from }) => [key, typeof value === "string" ? value : JSON.stringify(value), from]),
        ));
    });
}
