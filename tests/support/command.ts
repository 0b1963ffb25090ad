import { fileURLToPath } from "node:url";

/** Runs one command line to its end. */
export async function command(
  script: "annals" | "fidelis",
  args: string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const file = script === "annals" ? "../../src/cli/annals.ts" : "../../examples/fidelis/cli.ts";
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", fileURLToPath(new URL(file, import.meta.url)), ...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}
