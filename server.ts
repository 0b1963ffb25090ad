/**
 * The server: `deno run -A server.ts --domain=fidelis`.
 *
 * @module
 */
import { runCommand } from "./src/cli/run.ts";
import { serverCommand } from "./src/cli/server.ts";

if (import.meta.main) Deno.exit(await runCommand(() => serverCommand(Deno.args)));
