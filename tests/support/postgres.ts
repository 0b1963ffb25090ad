import postgres from "postgres";
import { databaseUrl } from "./services.ts";

/** A connection of the test's own. */
export function connectPostgres(url = databaseUrl()): postgres.Sql {
  return postgres(url, { max: 1, onnotice: () => {}, fetch_types: false });
}

/** A schema name of the test's own; whatever is in it goes with the test. */
export async function withSchema(
  url = databaseUrl(),
): Promise<{ readonly name: string } & AsyncDisposable> {
  const name = `annals_${crypto.randomUUID().slice(0, 8)}`;
  return await Promise.resolve({
    name,
    [Symbol.asyncDispose]: async () => {
      const sql = connectPostgres(url);
      await sql.unsafe(`drop schema if exists "${name}" cascade`);
      await sql.end();
    },
  });
}
