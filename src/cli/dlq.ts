import type { Command } from "commander";
import { eachDeadLetter, replayDeadLetters, setAsideIn, toldOf } from "../operating/dead_letters.ts";
import type { DeadLetter } from "../store/port.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { print, stamp, table } from "./output.ts";
import { recorded } from "./recorded.ts";
import { UsageError, whole } from "./run.ts";
import { didYouMean } from "../lib/did_you_mean.ts";

async function find({ store }: Operator, id: string): Promise<DeadLetter> {
  const found = await store.deadLetter(id);
  if (!found) throw new UsageError(`There is no dead letter "${id}"; see: annals dlq list`);
  return found;
}

const TOLD = "may have undone it: to do it now could do it in vain, or twice";

/** Checks that a group exists or has dead letters from the past. */
async function checkGroup({ domain, store }: Operator, group: string): Promise<void> {
  const known = new Set([...domain.handlers.map(({ name }) => name), ...Object.keys(await store.countDeadLetters())]);
  if (!known.has(group)) throw new UsageError(`There is no group "${group}"${didYouMean(group, [...known])}`);
}

function describe(letter: DeadLetter): string {
  const { message } = letter;
  return [
    `dead letter  ${letter.id}`,
    `group        ${letter.group}`,
    `message      ${message.type} version ${message.schemaVersion}, ${message.id}`,
    `stream       ${message.stream}, number ${message.version}, position ${message.position}`,
    `made         ${stamp(message.time)}`,
    `given up     ${stamp(letter.deadAt)}`,
    `reason       ${letter.reason}`,
    `payload      ${message.data}`,
    ...(message.metadata === null ? [] : [`metadata     ${message.metadata}`]),
    ...letter.attempts.map(({ at, error }, i) => `attempt ${i + 1}    ${stamp(at)}  ${error}`),
    ...(letter.stack === null ? [] : ["", letter.stack]),
  ].join("\n");
}

/** Deletes dead letters. */
async function purge(operator: Operator, which: { readonly ids: readonly string[] } | { readonly group: string }) {
  return await recorded(operator, "dlq purge", which, () => operator.store.purgeDeadLetters(which));
}

/** `annals dlq …` */
export function addDlq(program: Command): void {
  const run = (work: (operator: Operator) => Promise<void>) => withOperator(program.opts<GlobalOptions>(), work);
  const dlq = program.command("dlq").description("inspect, replay or delete dead letters");

  dlq.command("list").description("list dead letters, newest first")
    .option("--group <group>", "only of this group")
    .option("--limit <n>", "the maximum number", whole, 100)
    .option("--json", "print one JSON document")
    .action((options) =>
      run(async (operator) => {
        if (options.group !== undefined) await checkGroup(operator, options.group);
        if (options.json) return print(true, await Array.fromAsync(eachDeadLetter(operator, options)), () => "");
        const rows: (string | number)[][] = [];
        for await (const { id, group, message, attempts, deadAt, error } of eachDeadLetter(operator, options)) {
          rows.push([
            id,
            group,
            message.type,
            message.stream,
            message.position,
            attempts.length,
            stamp(deadAt),
            error.length > 60 ? `${error.slice(0, 59)}…` : error,
          ]);
        }
        const head = ["id", "group", "type", "stream", "position", "attempts", "given up", "error"];
        print(false, null, () => rows.length === 0 ? "No dead letters." : table(head, rows));
      })
    );

  dlq.command("inspect").description("show one dead letter in full").argument("<id>")
    .option("--json", "print one JSON document")
    .action((id: string, options) =>
      run(async (operator) => {
        const letter = await find(operator, id);
        print(options.json, letter, () => describe(letter));
      })
    );

  dlq.command("replay").description("hand one dead letter back to the group that failed, and only to it").argument(
    "<id>",
  )
    .option("--anyway", "also if a process was told that the command was given up, and may have undone it")
    .option("--json", "print one JSON document")
    .action((id: string, options) =>
      run(async (operator) => {
        const letter = await find(operator, id);
        const told = toldOf(letter);
        if (told && !options.anyway) {
          throw new UsageError(
            `"${letter.message.type}" was sent by the process instance "${told.id}" (${told.inbox}), which was told that it was given up and ${TOLD}. ` +
              `Look at it (annals processes show), and purge the dead letter; or replay it with --anyway`,
          );
        }
        const isAnyway = options.anyway === true;
        const replay = () => replayDeadLetters(operator, { ids: [id] }, { isAnyway: true });
        const { replayed } = await recorded(operator, "dlq replay", { ids: [id], isAnyway }, replay);
        print(options.json, { replayed }, () => `Replayed ${replayed}.`);
      })
    );

  dlq.command("replay-all").description("hand all dead letters of a group back to it")
    .requiredOption("--group <group>", "which group")
    .option("--anyway", "also commands that a process was told were given up, and may have undone")
    .option("--json", "print one JSON document")
    .action((options) =>
      run(async (operator) => {
        await checkGroup(operator, options.group);
        const { group, anyway: isAnyway = false } = options;
        const replay = () => replayDeadLetters(operator, { group }, { isAnyway });
        const { replayed, left } = await recorded(operator, "dlq replay", { group, isAnyway }, replay);
        const note = left === 0
          ? ""
          : ` ${left} were not: a process has sent them, was told that they were given up, and ${TOLD}; see --anyway`;
        print(options.json, { replayed, left }, () => `Replayed ${replayed}.${note}`);
      })
    );

  dlq.command("purge").description("permanently delete one dead letter, or all of a group").argument("[id]")
    .option("--group <group>", "all of this group")
    .option("--json", "print one JSON document")
    .action((id: string | undefined, options) =>
      run(async (operator) => {
        if ((id === undefined) === (options.group === undefined)) {
          throw new UsageError("Name one dead letter by its id, or all of a group with --group");
        }
        if (id !== undefined) {
          await find(operator, id);
          const purged = await purge(operator, { ids: [id] });
          return print(options.json, { purged }, () => `Purged ${purged}.`);
        }
        await checkGroup(operator, options.group);
        const purged = await purge(operator, { group: options.group });
        const aside = await setAsideIn(operator, options.group);
        const note = aside === 0 ? "" : ` ${aside} instances stay set aside: see annals processes list`;
        print(options.json, { purged }, () => `Purged ${purged}.${note}`);
      })
    );
}
