/**
 * `deno task npm [FOLDER]`: makes the package of clients for Node and Bun, JavaScript with types, in `dist/npm`. Publish it
 * with `npm publish ./dist/npm`.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import denoJson from "../deno.json" with { type: "json" };

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What clients are made of: engine, brokers and command line need Deno. */
const EXPORTS = [
  ".",
  "./client",
  "./client/http",
  "./config",
  "./store",
  "./store/memory",
  "./store/sqlite",
  "./store/postgres",
  "./testing",
] as const;

/** What `deno pack` does not know. */
const MANIFEST = {
  description: "Clients of Annals, an event-sourcing toolkit: send commands, read projections, follow events",
  keywords: ["event-sourcing", "cqrs", "ddd", "client"],
  // The first version whose node:sqlite tells whether a transaction is open.
  engines: { node: ">=22.16.0" },
  sideEffects: false,
};

/** Runs a program to its end; throws what it said when it fails. */
async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args: [...args], cwd }).output();
  if (!success) throw new Error(`${program} ${args.join(" ")} failed:\n${new TextDecoder().decode(stderr)}`);
}

/** Copies a file or folder. */
async function copy(from: string, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) await copy(join(from, name), join(to, name));
}

/** The page of the docs about Node, with links to other pages as plain text: npm shows only this one. */
async function readme(): Promise<string> {
  return (await Deno.readTextFile(join(ROOT, "docs/node.md"))).replaceAll(/\[([^\]]+)\]\((?!https?:)[^)]*\)/g, "$1");
}

/** Makes the package in a folder, whatever was there before. */
async function build(folder: string): Promise<void> {
  const temporary = await Deno.makeTempDir({ prefix: "annals-npm-" });
  try {
    // In a folder of its own, since `deno pack` takes all exports of a configuration and has no list of them.
    for (const name of ["mod.ts", "src", "LICENSE", "deno.lock"]) await copy(join(ROOT, name), join(temporary, name));
    await Deno.writeTextFile(join(temporary, "README.md"), await readme());
    const { name, version, license, imports } = denoJson;
    const exports = Object.fromEntries(EXPORTS.map((path) => [path, denoJson.exports[path]]));
    const config = { name, version, license, exports, imports, publish: { include: ["README.md", "LICENSE"] } };
    await Deno.writeTextFile(join(temporary, "deno.json"), JSON.stringify(config));
    await run(Deno.execPath(), ["pack", "--no-source-maps", "--output", "packed.tgz"], temporary);
    await Deno.remove(folder, { recursive: true }).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    await Deno.mkdir(folder, { recursive: true });
    await run("tar", ["-xzf", join(temporary, "packed.tgz"), "-C", folder, "--strip-components=1"], temporary);
    // From this file the code knows its version; `deno pack` leaves it out.
    await Deno.writeTextFile(join(folder, "deno.json"), JSON.stringify({ name, version }, null, 2) + "\n");
    const file = join(folder, "package.json");
    const { dependencies, ...packed } = JSON.parse(await Deno.readTextFile(file));
    await Deno.writeTextFile(file, JSON.stringify({ ...packed, ...MANIFEST, dependencies }, null, 2) + "\n");
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

const folder = resolve(ROOT, Deno.args[0] ?? "dist/npm");
await build(folder);
console.log(folder);
