import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Client } from "@annals/annals/client";
import { Count, first, second, Shelf, Shelf2 } from "../../fixtures/growing/versions.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";
import { databaseUrl, redisUrl } from "../../support/services.ts";
import { withSchema } from "../../support/postgres.ts";

const module = (version: string) => new URL(`../../fixtures/growing/${version}.ts`, import.meta.url);

/** Lets servers that start from now on run other code. */
function deploy(site: Site, version: string): void {
  const toml = Deno.readTextFileSync(site.file);
  Deno.writeTextFileSync(
    site.file,
    toml.replace(/growing = .*/, `growing = ${JSON.stringify(fileURLToPath(module(version)))}`),
  );
}

async function annals(site: Site, ...args: string[]): Promise<string> {
  const result = await command("annals", ["--config", site.file, ...args], site.folder);
  assert.equal(result.code, 0, result.stderr + result.stdout);
  return result.stdout;
}

/** Counts numbers until told to stop: which were sent. */
function keepCounting(client: Client, from: number): { stop: () => Promise<number[]> } {
  let isStopped = false;
  const sent: number[] = [];
  const running = (async () => {
    for (let n = from; !isStopped; n++) {
      await client.process(Count({ id: `c${n % 5}`, shelf: `s${n % 3}`, n }));
      sent.push(n);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  })();
  // A test that has failed before is told by its own error.
  running.catch(() => {});
  return {
    stop: async () => {
      isStopped = true;
      await running;
      return sent;
    },
  };
}

function sorted(numbers: readonly number[]): number[] {
  return [...numbers].sort((a, b) => a - b);
}

/** Each number once, on its shelf, in rows of one shape. */
function check(
  rows: readonly { shelf: string; ns: number[]; sum?: number }[],
  sent: readonly number[],
  isNew: boolean,
) {
  assert.deepEqual(sorted(rows.flatMap(({ ns }) => ns)), sorted(sent));
  for (const { shelf, ns, sum } of rows) {
    assert.ok(ns.every((n) => `s${n % 3}` === shelf));
    assert.equal(sum, isNew ? ns.reduce((a, b) => a + b, 0) : undefined);
  }
}

const active = async (client: Client) =>
  (await client.store.generations()).find(({ isActive }) => isActive)?.generation;

const SETTINGS: Record<string, () => Promise<{ toml: string; [Symbol.asyncDispose](): PromiseLike<void> }>> = {
  embedded: () => Promise.resolve({ toml: "", [Symbol.asyncDispose]: () => Promise.resolve() }),
  distributed: async () => {
    const schema = await withSchema(databaseUrl());
    return {
      toml:
        `[server.workers]\nShelfProjector = 3\n[event_store]\nurl = "${databaseUrl()}"\nschema = "${schema.name}"\n[brokers.default]\nurl = "${redisUrl()}"\nprefix = "${schema.name}"\n`,
      [Symbol.asyncDispose]: () => schema[Symbol.asyncDispose](),
    };
  },
};

for (const [name, settings] of Object.entries(SETTINGS)) {
  Deno.test(`${name}: a new version is built beside the old one, seen at once, taken back and seen again, whatever is killed`, async () => {
    await using at = await settings();
    await using site = Site.make("growing", module("first"), at.toml);
    let server = await site.start().running();
    await using client = await site.connect(second);
    const sent: number[] = [];
    for (let n = 0; n < 300; n++) sent.push(n);
    await Promise.all(sent.map((n) => client.process(Count({ id: `c${n % 5}`, shelf: `s${n % 3}`, n }))));
    await until(
      async () => (await client.rows(Shelf)).flatMap(({ ns }) => ns).length === 300,
      () => "all to be counted",
    );
    await server.kill();
    deploy(site, "second");
    const counting = keepCounting(client, 300);
    // No answer may have rows of both.
    const looking = new AbortController();
    const looked = (async () => {
      const seen = new Set<string>();
      while (!looking.signal.aborted) {
        const rows = await client.rows(Shelf2);
        const shapes = new Set(rows.map((row) => "sum" in row));
        assert.ok(shapes.size <= 1, `rows of two generations: ${JSON.stringify(rows).slice(0, 500)}`);
        seen.add([...shapes].join());
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return seen;
    })();
    looked.catch(() => {});
    for (const wait of [0, 150, 400]) {
      server = site.start();
      await until(() => server.stdout.includes("Registered"), () => `a server to start: ${server.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, wait));
      await server.kill();
    }
    server = await site.start().running();
    await until(async () => await active(client) === "2", () => `generation 2 to be seen: ${server.stderr}`);
    assert.match(await annals(site, "projections", "rollback", "Shelf"), /see generation 1 now/);
    assert.equal(await active(client), "1");
    // An operator has decided: it stays.
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(await active(client), "1");
    const diff = await annals(site, "projections", "diff", "Shelf");
    assert.match(diff, /3 of 3 rows of "Shelf" differ.*\nFields that differ, and in how many rows: (.*, )?sum \(3\)/);
    assert.match(await annals(site, "projections", "status"), /Shelf +2 +fed[^\n]*, to be swapped/);
    assert.match(await annals(site, "projections", "swap", "Shelf"), /see generation 2 now/);
    sent.push(...await counting.stop());
    looking.abort();
    assert.deepEqual(sorted([...await looked].map(Number)), [...await looked].map(Number).sort());
    // Commands first, then their events.
    assert.ok(await client.caughtUp() && await client.caughtUp());
    check(await client.rows(Shelf2), sent, true);
    await annals(site, "projections", "rollback", "Shelf");
    check(await client.rows(Shelf), sent, false);
    await annals(site, "projections", "swap", "Shelf");
    // Once more from the beginning, by the same code.
    assert.match(await annals(site, "projections", "rebuild", "Shelf"), /Generation 2.1 of "Shelf" is built/);
    await until(async () => await active(client) === "2.1", () => `generation 2.1 to be seen: ${server.stderr}`);
    for (const generation of ["1", "2"]) {
      assert.match(
        await annals(site, "projections", "drop", "Shelf", "--generation", generation),
        /is deleted\./,
      );
    }
    await client.process(Count({ id: "c0", shelf: "s0", n: 0 }), { until: [Shelf2], timeout: 20_000 });
    check(await client.rows(Shelf2), [...sent, 0], true);
    assert.equal((await client.query(Shelf2, { orderBy: [["sum", "desc"]], limit: 1 })).rows.length, 1);
    assert.deepEqual((await client.store.generations()).map(({ generation }) => generation), ["2.1"]);
    assert.equal(await server.stop(), 0);
  });
}

Deno.test("a row that cannot be built stops the build, named, and readers go on with what they have; mended code builds it", async () => {
  await using site = Site.make("growing", module("first"));
  let server = await site.start().running();
  await using client = await site.connect(first);
  const sent = Array.from({ length: 20 }, (_, n) => n);
  for (const n of sent) await client.process(Count({ id: `c${n % 5}`, shelf: `s${n % 3}`, n }));
  assert.ok(await client.caughtUp() && await client.caughtUp());
  await server.stop();
  deploy(site, "broken");
  server = await site.start().running();
  await until(() => server.stderr.includes("cannot be built"), () => `the build to stop: ${server.stderr}`);
  assert.match(server.stderr, /"Counted" at position \d+ \(growing::counter-c2\): .*seven is not supported/);
  assert.match(await annals(site, "projections", "status"), /Shelf 2 cannot be built: "Counted" at position/);
  check(await client.rows(Shelf), sent, false);
  const again = await command("annals", ["--config", site.file, "projections", "rebuild", "Shelf"], site.folder);
  assert.equal(again.code, 2);
  assert.match(again.stderr, /Generation 2.1 of "Shelf" cannot be built/);
  await server.stop();
  deploy(site, "second");
  server = await site.start().running();
  await until(async () => await active(client) === "2.2", () => `the rows to be seen: ${server.stderr}`);
  check(await client.rows(Shelf2), sent, true);
  // What was begun by other code is gone.
  await until(
    async () => (await client.store.generations()).map(({ generation }) => generation).join() === "1,2.2",
    () => "what has stopped to be dropped",
  );
  assert.equal(await server.stop(), 0);
});
