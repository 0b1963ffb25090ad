/**
 * Makes a project of one's own: `deno run -A jsr:@annals/annals/init my-bank`.
 *
 * @module
 */
import { Command } from "commander";
import { relative } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { runCommand } from "../cli/run.ts";
import { domainName, shellWord } from "./names.ts";
import { projectFiles } from "./project.ts";
import { writeProject } from "./write.ts";

/** This package: the URL of its folder if it runs from a clone, `null` if it comes from a registry. */
function ownClone(): string | null {
  const root = new URL("../..", import.meta.url).href;
  return root.startsWith("file:") ? root.replace(/\/$/, "") : null;
}

/**
 * Runs the command line.
 *
 * @param args Its arguments.
 * @returns The exit code: 0 success, 1 failure, 2 wrong usage.
 */
export async function initCommand(args: readonly string[]): Promise<number> {
  // deno-lint-ignore require-await
  return await runCommand(async () => {
    const program = new Command("init")
      .description("Makes a project with a small domain, its tests, and what it takes to run and deploy it.")
      .version(denoJson.version)
      .argument("<folder>", "the project's folder: a new one, or one without files of the same names")
      .option("--name <name>", "the domain's name (default: made of the folder's)")
      .allowExcessArguments(false)
      .showHelpAfterError("(run with --help for usage)")
      .exitOverride()
      .parse([...args], { from: "user" });
    const [folder] = program.args;
    const name = domainName(folder, program.opts<{ name?: string }>().name);
    const files = projectFiles({ name, version: denoJson.version, clone: ownClone() });
    writeProject(folder, files);
    console.log(`Made the domain "${name}" in ${folder}: ${Object.keys(files).join(", ")}\n`);
    const path = relative(Deno.cwd(), folder);
    if (path !== "") console.log(`  cd ${shellWord(path)}`);
    console.log(`  deno task start\n\nand in another terminal, in the same folder:\n
  deno task client open alice "Alice Johnson"
  deno task client deposit alice 100\n\nREADME.md says how to go on.`);
  });
}

if (import.meta.main) Deno.exit(await initCommand(Deno.args));
