import { createHash } from "node:crypto";
import assert from "node:assert/strict";
import { BROKER_SCHEMA } from "../../../src/broker/sqlite/schema.ts";
import { MIGRATIONS } from "../../../src/store/postgres/schema.ts";
import { STORE_SCHEMA } from "../../../src/store/sqlite/schema.ts";

const digestOf = ({ sql }: { readonly sql: string }) => createHash("sha256").update(sql).digest("hex").slice(0, 12);

/** What databases out there have applied: a change is a new migration, whose digest is added here. */
const DIGESTS: Record<string, readonly string[]> = {
  postgres: [
    "3b0d5c9fef21",
    "c279285ab32d",
    "fc36e98897f7",
    "dc792e65076b",
    "42e079cd177f",
    "57ba9e919b2b",
    "ee312289c761",
    "331af686680e",
    "1f73ddfdcb8b",
    "af7f220df7bc",
    "1f1133ada7e5",
    "6b1757b73eb9",
    "7c98a70efc5e",
  ],
  sqlite: [
    "55e50935aeda",
    "602664d59157",
    "e418e9bb4148",
    "52b15c6b8e2e",
    "59edb96804b7",
    "7518000e763d",
    "470576e50344",
    "5bdbcdd1ad5f",
    "ca66247702b8",
    "107c184b3a65",
    "df93be8bb3ee",
  ],
  "sqlite broker": ["6421888f84c7", "1979c55dabac"],
};

Deno.test("no migration was edited: databases that have applied it would never get the rest", () => {
  const found = { postgres: MIGRATIONS, sqlite: STORE_SCHEMA.migrations, "sqlite broker": BROKER_SCHEMA.migrations };
  assert.deepEqual(
    Object.fromEntries(Object.entries(found).map(([name, migrations]) => [name, migrations.map(digestOf)])),
    DIGESTS,
  );
});
