import type { Command } from "commander";
import { groupsOf } from "../operating/groups.ts";
import { locate } from "../adapters/open.ts";
import type { PostgresEventStore } from "../store/postgres/store.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import { describeChosen, type GlobalOptions } from "./operator.ts";
import { print, table } from "./output.ts";
import { addTag } from "./tag.ts";
import { recorded } from "./recorded.ts";
import { UsageError } from "./run.ts";

/** Runs work on the tables of a PostgreSQL store; says what else there is when the store is another. */
async function withTables(
  options: GlobalOptions,
  work: (store: PostgresEventStore, schema: string, domain: DomainDescription) => Promise<void>,
  otherwise: (provider: string) => void,
): Promise<void> {
  const { config, domain } = await describeChosen(options);
  const { provider, url, schema } = locate(config.store, domain.name);
  if (provider !== "postgres") return otherwise(provider);
  const { PostgresEventStore } = await import("../store/postgres/store.ts");
  const opened = new PostgresEventStore({ url, schema });
  try {
    await work(opened, schema, domain);
  } finally {
    await opened.close();
  }
}

/** Records what is done to a log, unless that is empty: into one with a record nothing could be imported. */
async function recordedIn<T>(
  store: PostgresEventStore,
  domain: DomainDescription,
  action: string,
  details: Readonly<Record<string, unknown>>,
  work: () => Promise<T>,
): Promise<T> {
  return await store.lastPosition() === 0 ? await work() : await recorded({ store, domain }, action, details, work);
}

function onlyPostgres(provider: string): never {
  throw new UsageError(`Only a log in PostgreSQL can be partitioned; this one is in ${provider}`);
}

function positions(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new UsageError(`"${text}" is not a number of positions; give a whole number from 1 on`);
}

/** `annals store …` */
export function addStore(program: Command): void {
  const store = program.command("store").description("manage the event store");
  store.command("migrate").description("create the tables or update them to this version").action(() =>
    withTables(program.opts<GlobalOptions>(), async (opened, schema, domain) => {
      const applied = await opened.migrate();
      // There may have been no table to write it to before.
      if (applied.length > 0) await recordedIn(opened, domain, "store migrate", { applied }, async () => {});
      for (const migration of applied) console.log(`Applied: ${migration}`);
      if (applied.length === 0) console.log(`Schema "${schema}" of ${opened.location} is up to date`);
    }, (provider) => console.log(`The ${provider} store creates its tables automatically; nothing to do`))
  );

  addTag(store, program);

  const show = async (opened: PostgresEventStore, json: boolean | undefined): Promise<void> => {
    const parts = await opened.parts();
    print(json, parts, () =>
      parts.length === 0 ? "The log is one table." : table(
        ["part", "from position", "to", "MB", "tablespace"],
        parts.map(({ name, from, to, bytes, tablespace }) => [
          name,
          from,
          to === null ? "…" : to - 1,
          Math.round(bytes / 1e6),
          tablespace ?? "",
        ]),
      ));
  };

  store.command("partition")
    .description("split the log into tables by position, or add tables to come; servers may run meanwhile")
    .option("--size <positions>", "the positions of a part", positions, 10_000_000)
    .option("--ahead <parts>", "how many parts to have ready", positions, 3)
    .option("--json", "print one JSON document")
    .action(({ size, ahead, json }) =>
      withTables(program.opts<GlobalOptions>(), async (opened, _schema, domain) => {
        await opened.verify();
        const partition = () => opened.partition({ size, ahead, progress: (text) => console.error(text) });
        await recordedIn(opened, domain, "store partition", { size, ahead }, partition);
        await show(opened, json);
      }, onlyPostgres)
    );

  store.command("parts").description("list the parts of a partitioned log")
    .option("--json", "print one JSON document")
    .action(({ json }) =>
      withTables(program.opts<GlobalOptions>(), async (opened) => {
        await opened.verify();
        await show(opened, json);
      }, onlyPostgres)
    );

  store.command("detach").description("take the oldest part out of the log, if nothing needs it; its table stays")
    .argument("<part>")
    .option("--forget-streams", "also if aggregates lose all their events: whoever loads one then finds none")
    .option("--json", "print one JSON document")
    .option(
      "--forget-group <group>",
      "a group of the past that has not handled it all; can be given again",
      (group: string, before: readonly string[]) => [...before, group],
      [] as readonly string[],
    )
    .action((part: string, { forgetStreams, forgetGroup, json }) =>
      withTables(program.opts<GlobalOptions>(), async (opened, schema, domain) => {
        await opened.verify();
        const groups = await groupsOf({ store: opened, domain });
        const readers = new Map(groups.map(({ name, categories }) => [name, categories]));
        const forget = { forgetGroups: forgetGroup, forgetStreams };
        const detach = () => opened.detach(part, { readers, ...forget });
        await recordedIn(opened, domain, "store detach", { part, ...forget }, detach);
        print(json, { detached: part }, () =>
          `Detached ${part}. Its messages are in the table "${schema}".${part}; ` +
          `save it (pg_dump -t '"${schema}".${part}') before you drop it`);
      }, onlyPostgres)
    );
}
