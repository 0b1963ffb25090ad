import { pathToFileURL } from "node:url";
import { connect } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import assert from "node:assert/strict";
import { Server, until } from "../../support/server.ts";

const MOD = JSON.stringify(new URL("../../../mod.ts", import.meta.url).href);

/** A domain with a projector and an event handler, whose code is given. */
function code(projector: string, handlers: string): string {
  return `import { aggregate, command, commandHandler, domain, event, eventHandler, projection, projector, type } from ${MOD};
const Rung = event("Rung", { schema: type<{ id: string }>() });
const Bell = aggregate("Bell", { events: [Rung], initial: () => 0, evolve: { Rung: (n) => n + 1 } });
export const Ring = command("Ring", { schema: type<{ id: string }>(), target: ({ id }) => id });
export const Count = projection("Count", { key: "id", schema: type<{ id: string; n: number }>() });
export const Heard = projection("Heard", { key: "id", schema: type<{ id: string; by: string }>() });
const count = (name: string, more = {}) => projector(name, Count, {
  ...more,
  events: [Rung],
  on: { Rung: (row, { payload }) => ({ ...payload, n: (row?.n ?? 0) + 1 }) },
});
const hear = (name: string, more = {}) => eventHandler(name, {
  ...more,
  events: [Rung],
  retries: 0,
  on: {
    Rung: ({ payload, position }, context) => {
      if (payload.id === "broken") throw new Error("broken");
      context.put(Heard, { id: name + " " + position, by: name });
    },
  },
});
export default domain("bells", {
  aggregates: [Bell],
  handlers: [
    commandHandler("Ringer", Bell, { commands: [Ring], handle: { Ring: (_, { payload }) => Rung(payload) } }),
    ${projector},
    ${handlers},
  ],
});
`;
}

Deno.test("a renamed handler goes on where it was; a new one begins at the end, unless it wants all", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  try {
    await Deno.writeTextFile(`${folder}/domain.toml`, "");
    const write = (...parts: [string, string]) => Deno.writeTextFile(`${folder}/domain.ts`, code(...parts));
    const start = (...args: string[]) => new Server(["--domain=./domain.ts", ...args], folder);
    const dry = async () => {
      const server = start("--dry-run");
      assert.equal((await server.status).code, 0, server.stderr);
      return server.stdout;
    };
    await write('count("Counter")', 'hear("Mail")');
    assert.match(await dry(), /There is no log yet: all groups would begin with its first message/);
    let server = await start().running();
    const { default: bells, Ring, Count, Heard } = await import(`${pathToFileURL(folder)}/domain.ts`);
    const count = async (id: string) => ((await client.row(Count, id)) as { n: number } | null)?.n;
    await using client = await connect(bells, { config: loadConfig({ file: `${folder}/domain.toml` }) });
    // What is before a domain has run is handled, by event handlers too.
    for (const id of ["a", "a", "broken"]) await client.process(Ring({ id }), { wait: true });
    await until(async () => (await client.store.deadLetters()).length === 1, () => "the broken one to be given up");
    assert.ok(await client.caughtUp());
    assert.equal(await count("a"), 2);
    assert.equal((await client.rows(Heard)).length, 2);
    const old = start();
    await old.running();
    await write(
      'count("Tally", { formerly: "Counter" })',
      'hear("Post", { formerly: "Mail" }), hear("New"), hear("All", { from: "start" })',
    );
    const text = await dry();
    assert.match(text, /New begins with what comes after position 6 in bells::bell/);
    assert.match(text, /All begins with the first message of bells::bell/);
    // A server with the old names must not go on meanwhile.
    const early = start();
    assert.equal((await early.status).code, 1);
    await early.kill();
    assert.match(early.stderr, /"Tally" was called "Counter", and a server still works for it under that name/);
    assert.equal(await old.stop(), 0);
    assert.equal(await server.stop(), 0);
    server = await start().running();
    for (const id of ["a", "b"]) await client.process(Ring({ id }), { wait: true });
    const heard = async () =>
      Object.fromEntries(
        [...Map.groupBy(await client.rows(Heard) as { by: string }[], ({ by }) => by)].map((
          [by, rows],
        ) => [by, rows.length]),
      );
    await until(
      async () => JSON.stringify(await heard()) === JSON.stringify({ All: 4, Mail: 2, New: 2, Post: 2 }),
      () => "each to have heard what it is to hear",
    );
    await until(async () => await count("b") === 1, () => "all to be counted");
    assert.equal(await count("a"), 3);
    const dead = (await client.store.deadLetters()).map(({ group }) => group).sort();
    assert.deepEqual(dead, ["All", "Post"]);
    assert.equal(await server.stop(), 0);
    // Once it is renamed, it need not be said any more.
    await write('count("Tally")', 'hear("Post"), hear("New"), hear("All")');
    server = await start().running();
    assert.equal(await server.stop(), 0);
    // Nor can the old code come back by mistake.
    await write('count("Counter")', 'hear("Mail"), hear("New"), hear("All")');
    const former = start();
    assert.equal((await former.status).code, 1);
    await former.kill();
    assert.match(former.stderr, /"Counter" is new .*; "Tally", which has handled them, is not in the code any more/);
    assert.match(former.stderr, /formerly: "Post"/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
