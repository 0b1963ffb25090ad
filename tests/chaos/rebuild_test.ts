import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import ledger, { AccountSummary2 } from "../fixtures/ledger/second.ts";
import { command } from "../support/command.ts";
import { pause } from "../support/ground.ts";
import { withSchema } from "../support/postgres.ts";
import { databaseUrl, redisUrl } from "../support/services.ts";
import { Site, until } from "../support/server.ts";

const FIRST = new URL("../../examples/fidelis/domain.ts", import.meta.url);
const SECOND = new URL("../fixtures/ledger/second.ts", import.meta.url);

const SETTINGS = {
  embedded: () => Promise.resolve({ toml: "", [Symbol.asyncDispose]: () => Promise.resolve() }),
  distributed: async () => {
    const schema = await withSchema(databaseUrl());
    const toml = `
[event_store]
url = "${databaseUrl()}"
schema = "${schema.name}"
[brokers.default]
url = "${redisUrl()}"
prefix = "${schema.name}"
`;
    return { toml, [Symbol.asyncDispose]: () => schema[Symbol.asyncDispose]() };
  },
};

for (const [name, settings] of Object.entries(SETTINGS)) {
  Deno.test(`${name}: the ledger's summary gets a field while it works and servers are killed; no reader sees a mixture, the books balance`, async () => {
    await using at = await settings();
    // The second module reads the first.
    const read = fileURLToPath(new URL(".", FIRST));
    const grant = `[server.permissions."*"]\nread = [${JSON.stringify(read)}]\n`;
    await using site = Site.make("fidelis", FIRST, `${at.toml}${grant}`);
    const run = async (script: "annals" | "fidelis", ...args: string[]) => {
      const result = await command(script, ["--config", site.file, ...args], site.folder);
      assert.equal(result.code, 0, result.stdout + result.stderr);
      return result.stdout;
    };
    const simulate = async (seed: number) =>
      JSON.parse(
        await run("fidelis", "simulate", "--accounts", "50", "--operations", "2500", "--seed", String(seed), "--json"),
      );
    const old = await site.start().running();
    assert.equal((await simulate(1)).balanced, true);
    await old.kill();
    // The command line goes on with the code of before.
    const before = Deno.readTextFileSync(site.file);
    const after = before.replace(/fidelis = .*/, `fidelis = ${JSON.stringify(fileURLToPath(SECOND))}`);
    const start = () => {
      Deno.writeTextFileSync(site.file, after);
      return site.start();
    };
    await using client = await site.connect(ledger);
    const active = async () =>
      (await client.store.generations()).find(({ projection, isActive }) => projection === "AccountSummary" && isActive)
        ?.generation;
    const isOver = new AbortController();
    const looked = (async () => {
      const seen = new Set<string>();
      while (!isOver.signal.aborted) {
        const shapes = new Set((await client.rows(AccountSummary2)).map((row) => "highest" in row));
        assert.ok(shapes.size <= 1, "rows of two generations in one answer");
        for (const shape of shapes) seen.add(shape ? "new" : "old");
        await pause(5);
      }
      return seen;
    })();
    looked.catch(() => {});
    let server = await start().running();
    const simulating = simulate(2);
    simulating.catch(() => {});
    for (const wait of [300, 900, 1_500]) {
      await pause(wait);
      await server.kill();
      server = await start().running();
    }
    await until(async () => await active() === "2", () => `generation 2 to be seen: ${server.stderr}`, 60_000);
    assert.match(await run("annals", "projections", "diff", "AccountSummary", "--limit", "2"), /differ/);
    assert.match(await run("annals", "projections", "rollback", "AccountSummary"), /see generation 1 now/);
    assert.equal(await active(), "1");
    assert.match(await run("annals", "projections", "swap", "AccountSummary"), /see generation 2 now/);
    const result = await simulating;
    assert.deepEqual([result.balanced, result.deadLetters, result.problems], [true, 0, []]);
    isOver.abort();
    assert.deepEqual([...await looked].sort(), ["new", "old"]);
    assert.match(await run("fidelis", "check"), /^The books balance/);
    const { rows } = await client.query(AccountSummary2, { orderBy: [["highest", "desc"]], limit: 10 });
    assert.ok(rows.length === 10 && rows.every(({ balance, highest }) => highest >= balance));
    assert.equal(await server.stop(), 0);
  });
}
