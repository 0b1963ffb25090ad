import process from "node:process";
import { SingleBar } from "cli-progress";
import type { Command } from "commander";
import { locate, openStore } from "../adapters/open.ts";
import { exportLines } from "../transfer/export.ts";
import { importLines } from "../transfer/import.ts";
import { generationOf } from "../store/generations.ts";
import type { EventStore } from "../store/port.ts";
import { describeChosen, type GlobalOptions, withOperator } from "./operator.ts";
import { recorded } from "./recorded.ts";
import { since, UsageError } from "./run.ts";

/** How many characters are written at a time. */
const CHUNK = 1 << 20;

async function refuseServers(store: EventStore, what: string): Promise<void> {
  if ((await store.members()).length === 0) return;
  throw new UsageError(`A server is running: it would change what is being ${what}. Stop all servers first`);
}

async function openExport(file: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(file);
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${(error as Error).message}`);
  }
}

/** Splits a text at line feeds only: JSON may have other ends of lines within a text. */
async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, void, undefined> {
  let parts: string[] = [];
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = text.split("\n");
    const last = lines.pop()!;
    for (const line of lines) {
      yield parts.length === 0 ? line : parts.join("") + line;
      parts = [];
    }
    if (last !== "") parts.push(last);
  }
  if (parts.length > 0) yield parts.join("");
}

/** `annals export` and `annals import` */
export function addTransfer(program: Command): void {
  program.command("export").description("write the log and all that belongs to it, as CloudEvents in lines of JSON")
    .option("--since <time>", "only messages since a time, or an age such as 15m, 2h, 3d, and nothing besides", since)
    .action((options: { since?: number }) =>
      withOperator(program.opts<GlobalOptions>(), async ({ store, domain }) => {
        // Some messages may be read at any time; a whole move is of one moment.
        if (options.since === undefined) await refuseServers(store, "exported");
        const bar = Deno.stderr.isTerminal() && !Deno.stdout.isTerminal()
          ? new SingleBar({ stream: process.stderr })
          : null;
        bar?.start(await store.lastPosition(), 0);
        const encoder = new TextEncoder();
        const write = async (text: string) => {
          const bytes = encoder.encode(text);
          for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
        };
        const kept = {
          projections: new Set(domain.projections.map(({ name }) => name)),
          groups: new Set(domain.projections.map(({ group }) => generationOf(group).projection)),
        };
        let text = "";
        const reached = (position: number) => bar?.update(position);
        const from = options.since === undefined ? {} : { since: options.since };
        for await (const line of exportLines(store, { domain: domain.name, kept, reached, ...from })) {
          text += `${line}\n`;
          if (text.length < CHUNK) continue;
          await write(text);
          text = "";
        }
        await write(text);
        bar?.stop();
      })
    );

  program.command("import").argument("[file]", "what export has written (default: standard input)")
    .description("fill an empty store with what another one has exported; goes on where it was interrupted")
    .action(async (file?: string) => {
      const { config, domain } = await describeChosen(program.opts<GlobalOptions>());
      const store = await openStore(locate(config.store, domain.name), { domain: domain.name });
      try {
        await refuseServers(store, "imported");
        console.error(`Importing into ${store.kind} at ${store.location}`);
        const isShown = Deno.stderr.isTerminal();
        const input = file === undefined ? Deno.stdin.readable : (await openExport(file)).readable;
        const { messages, found, isRepeated } = await importLines(store, linesOf(input), {
          domain: domain.name,
          reached: (position) => isShown && Deno.stderr.writeSync(new TextEncoder().encode(`\r${position} messages`)),
        });
        if (isShown) console.error();
        // Its messages keep their positions, so nothing could be written before.
        const details = { messages, found, ...(file !== undefined && { file }) };
        if (!isRepeated) await recorded({ store, domain }, "import", details, () => Promise.resolve());
        console.log(
          `Imported ${messages - found} messages${
            found > 0 ? ` (${found} were there already)` : ""
          }; all ${messages} are as they were exported.`,
        );
      } finally {
        await store.close();
      }
    });
}
