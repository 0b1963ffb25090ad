/**
 * The real server, with a clock that is set: by an hour ahead with SIGUSR1, back with SIGUSR2.
 *
 * @module
 */
import { runCommand } from "../../src/cli/run.ts";
import { serverCommand } from "../../src/cli/server.ts";

const HOUR = 3_600_000;

let offset = 0;
const now = Date.now;
Date.now = () => now() + offset;
Deno.addSignalListener("SIGUSR1", () => offset += HOUR);
Deno.addSignalListener("SIGUSR2", () => offset -= HOUR);

if (import.meta.main) Deno.exit(await runCommand(() => serverCommand(Deno.args)));
