import type { Command } from "commander";
import { checkComplete, loadConfig } from "../config/load.ts";
import { findDomain } from "../engine/domain_path.ts";
import { Engine } from "../engine/engine.ts";
import type { GlobalOptions } from "./operator.ts";
import { print, table } from "./output.ts";
import { UsageError } from "./run.ts";

/** NIST SP 800-63B asks for eight at least; there is one more secret to guess here, the user's name, and no second factor. */
const SHORTEST_PASSWORD = 10;

/** `annals config …` */
export function addConfig(program: Command): void {
  const config = program.command("config").description("check or show the configuration");
  const load = () => {
    const config = loadConfig({ file: program.opts<GlobalOptions>().config });
    checkComplete(config);
    return config;
  };
  config.command("check").description("check the configuration; with --domain, also against that domain")
    .option("--json", "print one JSON document")
    .action(async (options) => {
      const config = load();
      const { file, domains } = config;
      // A missing module is a mistake in the file, too.
      for (const name of Object.keys(domains)) findDomain(name, config);
      const { domain } = program.opts<GlobalOptions>();
      if (domain !== undefined) await new Engine({ module: findDomain(domain, config), config }).describe();
      print(options.json, { file, ok: true }, () => `${file ?? "No file: defaults"}: valid`);
    });
  config.command("hash-password").description(
    "hash a password for [server.http.users]; reads it from a prompt or stdin",
  )
    .action(async () => {
      const isTerminal = Deno.stdin.isTerminal();
      const given = isTerminal ? prompt("Password (it is shown):") : await new Response(Deno.stdin.readable).text();
      const password = (given ?? "").replace(/\r?\n$/, "");
      if (password.length < SHORTEST_PASSWORD) {
        throw new UsageError(`A password has at least ${SHORTEST_PASSWORD} characters`);
      }
      const { hashPassword } = await import("../http/passwords.ts");
      console.log(await hashPassword(password));
    });
  config.command("show").description("print the effective values and where each comes from")
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
