import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { PostgresEventStore } from "../../../src/store/postgres/store.ts";
import { SqliteEventStore } from "../../../src/store/sqlite/store.ts";
import type { EventStore } from "../../../src/store/port.ts";
import { withSchema } from "../../support/postgres.ts";
import { databaseUrl } from "../../support/services.ts";

const SCRIPT = fileURLToPath(new URL("../../fixtures/take_seats.ts", import.meta.url));

/** Lets four processes with two writers each take seats. */
async function race(store: EventStore, ...where: string[]): Promise<void> {
  const writers = ["a", "b", "c", "d"].map((name) =>
    new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-check", SCRIPT, name, store.kind, ...where] })
      .output()
  );
  for (const { stderr } of await Promise.all(writers)) assert.equal(new TextDecoder().decode(stderr), "");
  const taken = new Map<string, number>();
  for (const { data } of await store.readLog()) {
    const { student, course } = JSON.parse(data);
    for (const one of [`course ${course}`, `student ${student}`]) taken.set(one, (taken.get(one) ?? 0) + 1);
  }
  for (const [one, count] of taken) {
    if (one.startsWith("course")) assert.equal(count, 60, one);
    else assert(count <= 3, `${one}: ${count}`);
  }
  assert.equal(await store.lastPosition(), 360);
}

Deno.test("eight writers in four processes never take one seat too many: SQLite", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const store = new SqliteEventStore({ path: `${folder}/log.db` });
  await race(store, `${folder}/log.db`);
  await store.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("eight writers in four processes never take one seat too many: PostgreSQL", async () => {
  await using schema = await withSchema();
  const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name });
  await store.migrate();
  await race(store, databaseUrl(), schema.name);
  await store.close();
});
