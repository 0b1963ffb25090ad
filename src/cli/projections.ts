import type { Command } from "commander";
import { didYouMean } from "../lib/did_you_mean.ts";
import { sleep } from "../lib/sleep.ts";
import {
  activeOf,
  candidateOf,
  compareRows,
  dropGeneration,
  eventsOfRow,
  findProjection,
  type FoundProjection as Found,
  type GenerationStatus,
  generationStatuses,
  newestOf,
  previousOf,
  swapGeneration,
  waitsForSwap,
} from "../operating/projections.ts";
import { addRebuild } from "../projections/place.ts";
import type { Difference } from "../projections/difference.ts";
import { type Generation, rowsOf } from "../store/generations.ts";
import { paint } from "../telemetry/colors.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { COLORS, print, span, table } from "./output.ts";
import { recorded } from "./recorded.ts";
import { UsageError, whole } from "./run.ts";

/** How often progress is looked at, in milliseconds. */
const INTERVAL = 500;

/** How long nobody may take up a build before it is said that no server runs, in milliseconds. */
const UNSERVED = 5_000;

async function find(operator: Operator, name: string): Promise<Found> {
  const found = await findProjection(operator, name);
  if (found) return found;
  const { domain } = operator;
  throw new UsageError(
    `Domain "${domain.name}" has no projection "${name}" that a projector keeps${
      didYouMean(name, domain.projections.map((one) => one.name))
    }`,
  );
}

function stateOf({ state, isActive, isPinned, error, isRun, held }: GenerationStatus, waits: boolean): string {
  if (error !== null) return paint("stopped", "red", COLORS);
  const name = state === "fed" && held > 0 ? `fed, ${held} failed` : state;
  const what = state !== "dropped" && !isRun ? `${name}, by no server at the moment` : name;
  return `${what}${isActive ? ", readers see it" : ""}${isPinned ? ", pinned" : ""}${waits ? ", to be swapped" : ""}`;
}

function errorsOf(found: readonly GenerationStatus[]): string {
  return found.filter(({ error }) => error !== null).map(({ projection, generation, error }) =>
    `\n${projection} ${generation} cannot be built: ${error}\n` +
    `Correct the projector, and restart the servers: what was begun is made anew`
  ).join("");
}

/** Returns a generation by its name. */
function pick({ code, generations }: Found, name: string): Generation {
  const found = generations.find(({ generation }) => generation === name);
  if (found) return found;
  throw new UsageError(
    `Projection "${code.name}" has no generation ${name}; there are ${
      generations.map(({ generation }) => generation).join(", ") || "none"
    }`,
  );
}

/** The generation that readers see. */
function seenOf(found: Found): Generation {
  const active = activeOf(found);
  if (active) return active;
  throw new UsageError(`Projection "${found.code.name}" has no generations yet; start a server once`);
}

/** The generation that is to be swapped in: the newest one, if readers do not see it. */
function toSwapIn(found: Found, name: string | undefined): Generation {
  if (name !== undefined) return pick(found, name);
  const newest = newestOf(found);
  if (newest?.isActive) {
    throw new UsageError(
      `Readers of "${found.code.name}" see generation ${newest.generation}, the newest; for another, add --generation, or run: annals projections rollback ${found.code.name}`,
    );
  }
  return newest ?? seenOf(found);
}

/** The generation that is to be compared with what readers see: the newest other one. */
function toCompare(found: Found, name: string | undefined): Generation {
  if (name !== undefined) return pick(found, name);
  const next = candidateOf(found);
  if (next) return next;
  throw new UsageError(
    `Projection "${found.code.name}" has only generation ${
      seenOf(found).generation
    }; to make another, raise its version or run: annals projections rebuild ${found.code.name}`,
  );
}

/** Makes another generation what readers see; waits for a moment in which it has everything. */
async function swap(
  operator: Operator,
  found: Found,
  to: Generation,
  isStale: boolean,
  action: "projections swap" | "projections rollback" = "projections swap",
): Promise<void> {
  const from = seenOf(found);
  if (from.generation === to.generation) {
    return console.log(`Readers of "${found.code.name}" see generation ${to.generation} already.`);
  }
  const details = { projection: found.code.name, from: from.generation, to: to.generation, isStale };
  const refusal = await recorded(
    operator,
    action,
    details,
    () => swapGeneration(operator, found, { from, to, isStale }),
  );
  if (refusal !== null) {
    const { reason, message } = refusal;
    const isLacking = reason === "held" || reason === "behind";
    throw new UsageError(
      `Not swapped: ${message}. ${isLacking ? "To show it as it is, add --stale" : "See: annals projections status"}`,
    );
  }
  console.log(
    `Readers of "${found.code.name}" see generation ${to.generation} now; generation ${from.generation} is kept until: annals projections drop ${found.code.name} --generation ${from.generation}`,
  );
}

/** Shows the progress of a build until it is done. */
async function follow(operator: Operator, name: string, generation: string, json: boolean): Promise<void> {
  const { store } = operator;
  const startedAt = performance.now();
  let first: { readonly position: number; readonly at: number } | undefined;
  const isTerminal = Deno.stdout.isTerminal() && !json;
  const write = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(text));
  let unservedAt = performance.now();
  while (true) {
    const found = await find(operator, name);
    const its = found.generations.find((one) => one.generation === generation);
    if (!its) throw new UsageError(`Generation ${generation} of "${name}" was dropped meanwhile`);
    const [status] = await generationStatuses(operator, [its]);
    const now = performance.now();
    first ??= { position: status.position, at: now };
    const rate = now > first.at ? (status.position - first.position) / (now - first.at) * 1000 : 0;
    const left = rate > 0 ? status.behind / rate : null;
    const last = await store.lastPosition();
    if (json) {
      console.log(JSON.stringify({
        projection: name,
        generation,
        state: its.state,
        error: its.error,
        position: status.position,
        last,
        behind: status.behind,
        perSecond: Math.round(rate),
        secondsLeft: left === null ? null : Math.round(left),
      }));
    } else if (isTerminal) {
      const share = last === 0 ? 1 : status.position / last;
      write(
        `\r\x1b[K${name} ${generation}: ${
          Math.round(100 * Math.min(1, share))
        }%, position ${status.position} of ${last}, ${Math.round(rate)} events/s${
          left === null ? "" : `, ${span(left * 1000)} left`
        }`,
      );
    }
    if (its.error !== null || its.state === "fed") {
      if (isTerminal) write("\r\x1b[K");
      if (its.error !== null) {
        throw new UsageError(
          `Generation ${generation} of "${name}" cannot be built, and readers go on with what they have: ${its.error}`,
        );
      }
      if (json) return;
      const seconds = ((now - startedAt) / 1000).toFixed(1);
      return console.log(
        `Generation ${generation} of "${name}" is built, after ${seconds} s. ${
          operator.config.projectionSwap === "auto"
            ? "Servers let readers see it within a second, once it has what they see now."
            : `To let readers see it: annals projections swap ${name}`
        }`,
      );
    }
    if (status.isRun) unservedAt = now;
    if (now - unservedAt > UNSERVED) {
      if (isTerminal) write("\r\x1b[K");
      return console.log(
        `Generation ${generation} of "${name}" is begun as soon as a server runs: deno task start, or in the clone deno run -A server.ts --domain=${operator.domain.name}`,
      );
    }
    await sleep(INTERVAL);
  }
}

function differenceLines(found: readonly Difference[]): string {
  return table(
    ["key", "readers see", "other generation", "last events"],
    found.map(({ key, before, after }) => [
      key,
      before?.row ?? "-",
      after?.row ?? "-",
      [before?.position, after?.position].map((position) => position ?? "-").join(" / "),
    ]),
  );
}

/** `annals projections …` */
export function addProjections(program: Command): void {
  const group = program.command("projections").description("inspect, rebuild and swap projections");
  const withOne = (name: string, work: (operator: Operator, found: Found) => Promise<void>) =>
    withOperator(program.opts<GlobalOptions>(), async (operator) => await work(operator, await find(operator, name)));

  group.command("status").description("show the generations of each projection")
    .option("--json", "print one JSON document")
    .action((options) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const found = await generationStatuses(operator);
        print(options.json, found, () =>
          found.length === 0 ? "There are no generations yet; start a server once." : table(
            ["projection", "generation", "state", "position", "behind", "group"],
            found.map((one) => [
              one.projection,
              one.generation,
              stateOf(one, waitsForSwap(operator, one, found)),
              one.position === Infinity ? "-" : one.position,
              one.behind,
              one.group,
            ]),
          ) + errorsOf(found));
      })
    );

  group.command("rebuild").argument("<projection>").description(
    "make a projection anew from all events, beside what readers see",
  )
    .option("--json", "print one JSON document a line")
    .option("--no-wait", "do not wait until it is built")
    .action((name, options) =>
      withOne(name, async (operator, { code, generations }) => {
        const rebuild = () => addRebuild(operator.store, code, generations);
        const generation = await recorded(operator, "projections rebuild", { projection: name }, rebuild);
        if (options.wait) return await follow(operator, name, generation, options.json ?? false);
        print(options.json, { projection: name, generation }, () =>
          `Generation ${generation} of "${name}" is being built.`);
      })
    );

  group.command("diff").argument("<projection>").description("show rows that differ between two generations")
    .option("--generation <generation>", "the other one (default: the newest that readers do not see)")
    .option("--limit <number>", "the most rows to show", whole, 20)
    .option("--json", "print one JSON document")
    .action((name, options) =>
      withOne(name, async (operator, found) => {
        const [active, other] = [seenOf(found), toCompare(found, options.generation)];
        const compared = await compareRows(operator, found, [active, other], options.limit);
        const { rows, shown, differing, fields, events: behind } = compared;
        const value = {
          projection: name,
          before: active.generation,
          after: other.generation,
          rows,
          differing,
          fields: Object.fromEntries(fields),
          shown: shown.map(({ key, before, after }) => ({
            key,
            before: before && { row: JSON.parse(before.row!), position: before.position },
            after: after && { row: JSON.parse(after.row!), position: after.position },
          })),
          events: behind.map(({ position, type, stream, data }) => ({
            position,
            type,
            stream,
            payload: JSON.parse(data),
          })),
        };
        print(options.json, value, () => {
          const text =
            `${differing} of ${rows} rows of "${name}" differ between generation ${active.generation} and ${other.generation}.`;
          if (differing === 0) return text;
          const named = [...fields].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} (${count})`).join(
            ", ",
          );
          const events = table(
            ["position", "type", "stream", "payload"],
            behind.map(({ position, type, stream, data }) => [position, type, stream, data]),
          );
          const inFields = named === "" ? "" : `\nFields that differ, and in how many rows: ${named}`;
          return `${text}${inFields}\n\n${differenceLines(shown)}\n\nThe last events behind "${
            shown[0].key
          }":\n${events}`;
        });
      })
    );

  group.command("swap").argument("<projection>").description("let readers see another generation")
    .option("--generation <generation>", "which one (default: the newest that they do not see)")
    .option("--stale", "even if it lacks events that they see now")
    .action((name, options) =>
      withOne(
        name,
        async (operator, found) =>
          await swap(operator, found, toSwapIn(found, options.generation), options.stale ?? false),
      )
    );

  group.command("rollback").argument("<projection>").description("let readers see the generation that they saw before")
    .option("--stale", "even if it lacks events that they see now")
    .action((name, options) =>
      withOne(name, async (operator, found) => {
        const before = previousOf(found);
        if (!before) {
          throw new UsageError(
            `There is nothing to go back to: readers of "${name}" saw no other generation`,
          );
        }
        await swap(operator, found, before, options.stale ?? false, "projections rollback");
      })
    );

  group.command("drop").argument("<projection>").description("delete a generation that readers do not see")
    .requiredOption("--generation <generation>", "which one")
    .action((name, options) =>
      withOne(name, async (operator, found) => {
        const its = pick(found, options.generation);
        if (its.isActive) throw new UsageError(`Readers of "${name}" see generation ${its.generation}; swap first`);
        const details = { projection: name, generation: its.generation };
        const drop = () => dropGeneration(operator, found, its);
        if (await recorded(operator, "projections drop", details, drop) === "busy") {
          return console.log(
            `Generation ${its.generation} of "${name}" is dropped, and still fed by a server of an older version of Annals; its rows are deleted when that has stopped.`,
          );
        }
        console.log(`Generation ${its.generation} of "${name}" is deleted.`);
      })
    );

  group.command("show").argument("<projection>").description("show rows, or one row in each generation with its events")
    .option("--key <key>", "the key of one row")
    .option("--generation <generation>", "of which generation (default: what readers see)")
    .option("--limit <number>", "the most rows to show", whole, 20)
    .option("--json", "print one JSON document")
    .action((name, options) =>
      withOne(name, async (operator, found) => {
        const { store } = operator;
        const { key, generation, limit, json } = options;
        if (generation !== undefined) pick(found, generation);
        if (key === undefined) {
          const rows = await store.listRows(generation === undefined ? name : rowsOf(name, generation), { limit });
          return print(
            json,
            rows.map(({ key, row, position }) => ({ key, position, row: JSON.parse(row!) })),
            () => table(["key", "position", "row"], rows.map(({ key, position, row }) => [key, position, row!])),
          );
        }
        const those = found.generations.filter((one) =>
          one.state !== "dropped" && (generation === undefined || one.generation === generation)
        );
        const rows = await Promise.all(those.map(async (one) => ({
          generation: one.generation,
          isActive: one.isActive,
          row: await store.readRow(rowsOf(name, one.generation), key),
        })));
        const events = await eventsOfRow(operator, found, key, limit);
        print(
          json,
          {
            key,
            rows: rows.map(({ row, ...one }) => ({
              ...one,
              position: row?.position ?? null,
              row: row ? JSON.parse(row.row!) : null,
            })),
            events: events.map(({ position, type, stream, data }) => ({
              position,
              type,
              stream,
              payload: JSON.parse(data),
            })),
          },
          () =>
            `${
              table(
                ["generation", "position", "row"],
                rows.map(({ generation, isActive, row }) => [
                  `${generation}${isActive ? " (readers see it)" : ""}`,
                  row?.position ?? "-",
                  row?.row ?? "no row",
                ]),
              )
            }\n\n${
              table(
                ["position", "type", "stream", "payload"],
                events.map(({ position, type, stream, data }) => [position, type, stream, data]),
              )
            }`,
        );
      })
    );
}
