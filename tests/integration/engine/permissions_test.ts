import assert from "node:assert/strict";
import { fileURLToPath, pathToFileURL } from "node:url";
import { connect } from "@annals/annals/client";
import { Engine } from "@annals/annals/engine";
import { loadConfig } from "@annals/annals/config";
import { newId } from "@annals/annals";
import type { EventStore } from "@annals/annals/store";
import { Server, until } from "../../support/server.ts";

const MOD = new URL("../../../mod.ts", import.meta.url).href;

/** What a curious handler tries, and what it is told. */
const ATTEMPTS: Record<string, { code: string; told: RegExp }> = {
  Passwd: {
    code: `Deno.readTextFileSync("/etc/passwd")`,
    told:
      /Refused read access to "\/etc\/passwd"; to allow it, add to domain\.toml, under \[server\.permissions\.GROUP\]: read = \["\/etc\/passwd"\]/,
  },
  Env: {
    code: `Deno.env.get("HOME")`,
    told:
      /Refused env access to "HOME"; to allow it, add to domain\.toml, under \[server\.permissions\.GROUP\]: env = \["HOME"\]/,
  },
  Net: {
    code: `await fetch("http://127.0.0.1:8123/")`,
    told:
      /Refused net access to "127\.0\.0\.1:8123"; to allow it, add to domain\.toml, under \[server\.permissions\.GROUP\]: net/,
  },
  Run: {
    code: `new Deno.Command("/bin/ls").outputSync()`,
    told: /Refused run access to "\/bin\/ls": it cannot be granted to a handler/,
  },
  Ffi: {
    code: `Deno.dlopen("./lib.so", {})`,
    told: /Refused ffi access.*: it cannot be granted to a handler/,
  },
  Write: {
    code: `Deno.writeTextFileSync("/tmp/annals-was-here", "x")`,
    told: /Refused write access to "\/tmp\/annals-was-here"; to allow it, .* write = \["\/tmp\/annals-was-here"\]/,
  },
  Neighbour: {
    code: `Deno.readTextFileSync(${JSON.stringify(fileURLToPath(new URL("../../../deno.json", import.meta.url)))})`,
    told: /Refused read access to ".*deno\.json"; to allow it/,
  },
};

function domainModule(handlers: string, top = ""): string {
  return `import { aggregate, domain, event, eventHandler, type } from ${JSON.stringify(MOD)};
${top}
const Asked = event("Asked", { schema: type<{ who: string }>() });
const Request = aggregate("Request", { events: [Asked], initial: () => 0, evolve: { Asked: (n) => n + 1 } });
export default domain("prying", { aggregates: [Request], handlers: [${handlers}] });
`;
}

const handler = (name: string, code: string, options = "") =>
  `eventHandler("${name}", { events: [Asked], ${options} on: { Asked: async () => { ${code}; } } })`;

/** A folder with a domain's module in a folder of its own. */
async function site(module: string, toml = "") {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  await Deno.mkdir(`${folder}/prying`);
  await Deno.writeTextFile(`${folder}/prying/domain.ts`, module);
  await Deno.writeTextFile(`${folder}/domain.toml`, toml);
  const start = (...args: string[]) => new Server(["--domain=prying", ...args], folder);
  return { folder, start, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

Deno.test("a domain module that pries while it is imported is refused, and told what to add", async () => {
  await Promise.all(
    Object.entries(ATTEMPTS).map(async ([name, { code, told }]) => {
      await using place = await site(domainModule("", code));
      const server = place.start("--dry-run");
      assert.equal((await server.status).code, 1, name);
      await server.kill();
      const expected = new RegExp(told.source.replaceAll("\\.GROUP", '\\."\\*"'));
      assert.match(server.stderr, expected);
      assert.doesNotMatch(server.stderr, /^\s+at /m);
    }),
  );
});

/** Appends an event that every handler is asked to handle. */
async function ask(store: EventStore): Promise<void> {
  const id = newId();
  await store.commit({
    appends: [{
      category: "prying::request",
      stream: "prying::request-1",
      expected: "none",
      publish: true,
      messages: [{
        id,
        type: "Asked",
        schemaVersion: 1,
        time: Date.now(),
        correlationId: id,
        causationId: null,
        data: "{}",
        metadata: null,
      }],
    }],
  });
}

Deno.test("a handler that pries is refused, and told what to add", async () => {
  const handlers = Object.entries(ATTEMPTS).map(([name, { code }]) => handler(name, code)).join(",\n");
  await using place = await site(domainModule(handlers), "[server.stream_subscription]\nmax_retries = 0\n");
  const server = await place.start().running();
  const module = await import(pathToFileURL(`${place.folder}/prying/domain.ts`).href);
  await using client = await connect(module.default, { config: loadConfig({ file: `${place.folder}/domain.toml` }) });
  await ask(client.store);
  const count = Object.keys(ATTEMPTS).length;
  await until(
    async () => (await client.store.deadLetters()).length === count,
    () => `${count} refusals: ${server.stderr}`,
  );
  for (const { group, error } of await client.store.deadLetters()) {
    assert.match(error, new RegExp(ATTEMPTS[group].told.source.replaceAll("GROUP", group)));
  }
  assert.equal(await server.stop(), 0);
});

Deno.test("a permission that is declared and not granted stops the start; granted, it works and no more than it", async () => {
  const needs = `permissions: { env: ["ANNALS_TEST_TOKEN"], net: ["smtp.example.com:587"] },`;
  const module = domainModule(handler("Mailer", "console.log(Deno.env.get('ANNALS_TEST_TOKEN'))", needs));
  await using place = await site(module);
  const refused = place.start();
  assert.equal((await refused.status).code, 1);
  await refused.kill();
  const lines = `[server.permissions.Mailer]\nnet = ["smtp.example.com:587"]\nenv = ["ANNALS_TEST_TOKEN"]`;
  assert.ok(refused.stderr.includes(lines), refused.stderr);
  await Deno.writeTextFile(`${place.folder}/domain.toml`, lines);
  const granted = place.start("--dry-run");
  assert.equal((await granted.status).code, 0);
  await granted.kill();
  assert.match(granted.stdout, /net {4}smtp\.example\.com:587\n {2}env {4}ANNALS_TEST_TOKEN/);
  const server = await place.start().running();
  assert.equal(await server.stop(), 0);
});

Deno.test("files that come and go beside the module while a server starts, and afterwards, stop no worker", async () => {
  await using place = await site(domainModule(handler("Reader", "")));
  const folder = `${place.folder}/prying`;
  // Something to hide, so that the folder is listed file by file.
  for (const name of [".env", "going.txt"]) await Deno.writeTextFile(`${folder}/${name}`, "x");
  const refusals: string[] = [];
  let handled = 0;
  const engine = new Engine({
    module: pathToFileURL(`${folder}/domain.ts`).href,
    config: loadConfig({ file: `${place.folder}/domain.toml` }),
    print: (line) => Deno.writeTextFileSync(`${folder}/coming ${line.slice(0, 3)}.txt`, "x"),
    report: (event) => {
      if (event.type === "batch.handled") handled++;
      if (event.type === "worker.replaced" && /escalate/.test(event.error)) refusals.push(event.error);
    },
  });
  await engine.start();
  await Deno.remove(`${folder}/going.txt`);
  const [first] = engine.hosts;
  Deno.kill(first, "SIGKILL");
  await until(() => !engine.hosts.includes(first), () => "the host to end");
  await ask(engine.store);
  await until(() => handled > 0, () => JSON.stringify([engine.health(), refusals]));
  await engine.stop();
  assert.deepEqual(refusals, []);
});
