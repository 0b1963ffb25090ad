import { StoreUnavailableError } from "../errors.ts";
import { codeOf } from "./errors.ts";
import { forSchema, migrationLock, MIGRATIONS, PARTITIONED_SETTINGS } from "./schema.ts";
import type { Session } from "./transaction.ts";
import { namedViews, type ProjectionShape } from "../views.ts";
import { viewQuery } from "./views.ts";

/** The schema to migrate and its location. */
export interface Place {
  /** The schema. */
  readonly schema: string;
  /** The location, without secrets. */
  readonly location: string;
}

/** The number of the last migration; 0 if there is none. */
async function versionOf(session: Session, { schema, location }: Place): Promise<number> {
  const table = forSchema("annals.migrations", schema);
  const [{ there }] = await session.unsafe("select to_regclass($1) is not null as there", [table]);
  if (!there) return 0;
  const [{ version }] = await session.unsafe(`select coalesce(max(version), 0) as version from ${table}`);
  if (version <= MIGRATIONS.length) return version;
  throw new StoreUnavailableError(
    `Cannot use schema "${schema}" of PostgreSQL at ${location}: it was created by a newer version of Annals (schema version ${version}, this one supports ${MIGRATIONS.length}); update Annals`,
    "newer",
    false,
  );
}

/** Waits until no other process changes the tables; until the end of the transaction, none does. */
export async function lock(session: Session, schema: string): Promise<void> {
  await session.unsafe(`select pg_advisory_xact_lock(${migrationLock(schema)})`);
}

/** Checks Annals' tables for triggers, which would run with the server's role inside every commit. */
async function refuseTriggers(session: Session, { schema, location }: Place): Promise<void> {
  const [found] = await session.unsafe(
    `select t.tgname as name, c.relname as "table" from pg_trigger t join pg_class c on c.oid = t.tgrelid
     join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and not t.tgisinternal limit 1`,
    [schema],
  );
  if (!found) return;
  throw new StoreUnavailableError(
    `Schema "${schema}" of PostgreSQL at ${location} has a trigger that is not Annals' own: "${found.name}" on "${found.table}"; ` +
      `drop it, and keep your own tables in another schema`,
    "foreign",
    false,
  );
}

/** Applies pending migrations, one process at a time; returns their names. */
export async function migrate(session: Session, place: Place): Promise<string[]> {
  const { schema } = place;
  await lock(session, schema);
  const done = await versionOf(session, place);
  await refuseTriggers(session, place);
  const missing = MIGRATIONS.slice(done);
  if (missing.length === 0) return [];
  if (done === 0) {
    const name = `"${schema.replaceAll('"', '""')}"`;
    const [{ there }] = await session.unsafe("select to_regnamespace($1) is not null as there", [name]);
    if (!there) await session.unsafe(`create schema ${name}`);
    await session.unsafe(forSchema(
      "create table annals.migrations (version int primary key, name text not null, applied timestamptz not null)",
      schema,
    ));
  }
  for (const [i, { name, sql }] of missing.entries()) {
    await session.unsafe(forSchema(sql, schema));
    await session.unsafe(forSchema("insert into annals.migrations values ($1, $2, now())", schema), [
      done + i + 1,
      name,
    ]);
  }
  // A function that was made anew has lost its settings.
  const [{ partitioned }] = await session.unsafe(forSchema("select partitioned from annals.identity", schema));
  for (const sql of partitioned ? PARTITIONED_SETTINGS : []) await session.unsafe(forSchema(sql, schema));
  return missing.map(({ name }) => name);
}

/** Checks that every migration was applied. */
export async function verify(session: Session, place: Place): Promise<void> {
  const version = await versionOf(session, place);
  await refuseTriggers(session, place);
  if (version === MIGRATIONS.length) return;
  throw new StoreUnavailableError(
    `Schema "${place.schema}" of PostgreSQL at ${place.location} is at migration ${version}, this version needs ${MIGRATIONS.length}; run \`annals store migrate\` as a role that may create tables`,
    "missing",
    false,
  );
}

/** How long a view may be in use by a report before it is left as it is. */
const VIEW_PATIENCE = "500ms";

/** The code of an error that says that a view cannot be replaced as it is, but can be made anew. */
const NOT_REPLACEABLE = "42P16";

/**
 * Creates or updates the view of each projection. A view that is in use, or that others are built on, is no reason not to
 * start: it stays as it is.
 *
 * @returns What could not be updated, and what to do.
 */
export async function publishViews(
  session: Session,
  schema: string,
  shapes: readonly ProjectionShape[],
): Promise<string[]> {
  const { views, warnings } = namedViews(shapes);
  await lock(session, schema);
  await session.unsafe(`set local lock_timeout = '${VIEW_PATIENCE}'`);
  for (const { name, shape } of views) {
    const view = forSchema(`annals."${name}"`, schema);
    const query = forSchema(viewQuery(shape), schema);
    const [{ known }] = await session.unsafe("select obj_description(to_regclass($1), 'pg_class') as known", [view]);
    if (known === query) continue;
    try {
      await session.savepoint((inner) => replaceView(inner, view, query));
    } catch (error) {
      warnings.push(
        `The view ${view} of projection "${shape.name}" could not be updated and stays as it is: ${
          (error as Error).message
        }; drop what is built on it, or wait for the report that reads it, then restart a server`,
      );
    }
  }
  return warnings;
}

async function replaceView(session: Session, view: string, query: string): Promise<void> {
  try {
    await session.savepoint(async (inner) => void await inner.unsafe(`create or replace view ${view} as ${query}`));
  } catch (error) {
    if (codeOf(error) !== NOT_REPLACEABLE) throw error;
    await session.unsafe(`drop view ${view}`);
    await session.unsafe(`create view ${view} as ${query}`);
  }
  // Store the definition, so that a changed schema is noticed.
  await session.unsafe(`comment on view ${view} is '${query.replaceAll("'", "''")}'`);
}
