import { SingleBar } from "cli-progress";
import type { Command } from "commander";
import {
  allTagged,
  forgetTagged,
  type TaggedType,
  taggedUpTo,
  taggingReached,
  untaggedTypes,
} from "../groups/tagged.ts";
import { type Decode, withDecoder } from "../isolation/inspect.ts";
import { readBatch } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { print } from "./output.ts";
import { recorded } from "./recorded.ts";
import { UsageError } from "./run.ts";

/** How many events are read at a time. */
const PAGE = 1_000;

/** Gives the events of a type their tags; goes on where it was interrupted. */
async function tag(
  store: EventStore,
  { type, category }: TaggedType,
  decode: Decode,
  reached: (position: number) => void,
): Promise<number> {
  const last = await store.lastPosition();
  let count = 0;
  for (let after = await taggingReached(store, type);;) {
    const records = await readBatch(store, { category, type, after, upTo: last, limit: PAGE });
    if (records.length === 0) break;
    const payloads = await decode(records);
    const damaged = payloads.findIndex(({ unreadable }) => unreadable !== undefined);
    if (damaged >= 0) {
      const { position, stream } = records[damaged];
      throw new UsageError(
        `Cannot give the "${type}" at position ${position} (${stream}) its tags: ${
          payloads[damaged].unreadable
        }. Mend its upcast, and run this again: it goes on from there`,
      );
    }
    after = records.at(-1)!.position;
    await store.commit({
      tag: records.map(({ position }, i) => ({ position, type, tags: payloads[i].tags ?? [] })),
      checkpoint: taggedUpTo(type, after),
    });
    count += records.length;
    reached(after);
  }
  // What was appended meanwhile has its tags: by this code, or by servers of this version.
  await store.commit({ checkpoint: allTagged(type, last) });
  return count;
}

async function tagAll(operator: Operator, types: readonly TaggedType[]): Promise<Map<string, number>> {
  const { store, module, config } = operator;
  const last = await store.lastPosition();
  const isShown = Deno.stderr.isTerminal();
  const tagged = new Map<string, number>();
  await withDecoder(module, config, async (decode) => {
    for (const one of types) {
      const bar = new SingleBar({ format: `${one.type} {bar} {percentage}% | {eta} s left`, clearOnComplete: true });
      if (isShown) bar.start(last, await taggingReached(store, one.type));
      try {
        tagged.set(one.type, await tag(store, one, decode, (position) => isShown && bar.update(position)));
      } finally {
        if (isShown) bar.stop();
      }
    }
  });
  return tagged;
}

/** `annals store tag` */
export function addTag(store: Command, program: Command): void {
  store.command("tag")
    .description("give events from before their type had tags theirs; can be interrupted, and goes on then")
    .option("--backfill", "the same: what it does")
    .option("--again <type>", "those of a type whose tags have changed, from the beginning")
    .option("--json", "print one JSON document")
    .action(({ again, json }: { again?: string; json?: boolean }) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const { store, domain } = operator;
        const chosen = domain.tagged.filter(({ type }) => type === again);
        if (again !== undefined && chosen.length === 0) {
          const known = domain.tagged.map(({ type }) => type).join(", ") || "none";
          throw new UsageError(`"${again}" is no event with tags; known: ${known}`);
        }
        const types = again === undefined ? await untaggedTypes(store, domain.tagged) : chosen;
        const details = { types: types.map(({ type }) => type), isAgain: again !== undefined };
        const tagThem = async () => {
          if (again !== undefined) await forgetTagged(store, again);
          return await tagAll(operator, types);
        };
        const tagged = types.length === 0
          ? new Map<string, number>()
          : await recorded(operator, "store tag", details, tagThem);
        const isServed = tagged.size > 0 && (await store.members()).length > 0;
        const note = isServed ? "\nRestart the servers: they keep in mind what they have decided on before." : "";
        const lines = [...tagged].map(([type, count]) => `${type}: ${count} events have their tags`);
        print(
          json,
          { tagged: Object.fromEntries(tagged) },
          () => lines.length === 0 ? "All events have their tags." : lines.join("\n") + note,
        );
      })
    );
}
