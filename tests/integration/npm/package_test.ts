import assert from "node:assert/strict";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { withSchema } from "../../support/postgres.ts";
import { HANG_UP, HttpStub } from "../../support/http_stub.ts";
import { HAS_RUNTIMES, output, runtimes } from "../../support/runtimes.ts";
import { Site } from "../../support/server.ts";
import { databaseUrl, freePort } from "../../support/services.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

const BANK = new URL("../../../examples/bank/bank.ts", import.meta.url);

const TOKEN = "a-token-of-enough-characters";

/** What a user's project has, at the same places as here. */
const FILES = [
  "examples/bank/bank.ts",
  "tests/fixtures/npm/away.ts",
  "tests/fixtures/npm/program.ts",
  "tests/fixtures/npm/suite.ts",
  "tests/fixtures/npm/types.ts",
];

const TSCONFIG = {
  compilerOptions: {
    strict: true,
    noEmit: true,
    module: "nodenext",
    target: "es2024",
    lib: ["es2024", "dom", "esnext.disposable"],
    allowImportingTsExtensions: true,
    // Types of the package are checked as well.
    skipLibCheck: false,
    types: ["node"],
  },
  files: FILES,
};

/** A project of a user that has installed the package from its tarball. */
async function project(): Promise<{ readonly folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir({ prefix: "annals-npm-" });
  const dispose = () => Deno.remove(folder, { recursive: true });
  try {
    const packed = `${folder}/packed`;
    await output(Deno.execPath(), ["run", "-A", "--no-check", "tools/npm.ts", packed], ROOT);
    const [{ filename }] = JSON.parse(await output("npm", ["pack", "--json"], packed));
    for (const file of FILES) {
      await Deno.mkdir(`${folder}/${file.slice(0, file.lastIndexOf("/"))}`, { recursive: true });
      await Deno.copyFile(`${ROOT}/${file}`, `${folder}/${file}`);
    }
    await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify({ private: true, type: "module" }));
    await Deno.writeTextFile(`${folder}/tsconfig.json`, JSON.stringify(TSCONFIG));
    const packages = [`${packed}/${filename}`, "zod@4", "@types/node@22"];
    await output("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...packages], folder);
    return { folder, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** A file without its comments. */
async function codeOf(file: string): Promise<string> {
  return (await Deno.readTextFile(file)).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
}

/** The files of a package in whose code something occurs. */
async function* filesWith(pattern: RegExp, folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* filesWith(pattern, path);
    else if (/\.(js|d\.ts)$/.test(name)) {
      if (pattern.test(await codeOf(path))) yield path;
    }
  }
}

Deno.test({
  name: "the npm package is installed from its tarball, and is a client on Node and Bun of servers on Deno",
  ignore: !HAS_RUNTIMES,
  fn: async (test) => {
    await using schema = await withSchema();
    const onPostgres = `[event_store]\nurl = ${JSON.stringify(databaseUrl())}\nschema = "${schema.name}"\n`;
    const inMemory = '[event_store]\nurl = "memory:"\n';
    const broker = '[brokers.default]\nurl = "memory:"\n';
    const port = freePort();
    const http = `[server.http]\nlisten = "127.0.0.1:${port}"\napi = true\ntoken = "${TOKEN}"\n`;
    await using sqlite = Site.make("bank", BANK, http);
    await using postgres = Site.make("bank", BANK, onPostgres + broker);
    await using memory = Site.make("bank", BANK, inMemory + broker);
    const sites = { sqlite, postgres, memory };
    const [{ node, bun, tsc }, installed] = await Promise.all([
      runtimes(),
      project(),
      ...Object.values(sites).map((site) => site.start().running()),
    ]);
    await using user = installed;
    const { folder } = user;
    const run = (program: string, script: string, ...args: string[]) =>
      output(program, [`tests/fixtures/npm/${script}`, ...args], folder);

    await test.step("it has what clients need, and nothing of Deno but in one file", async () => {
      const its = `${folder}/node_modules/@annals/annals`;
      const { exports, dependencies, engines } = JSON.parse(await Deno.readTextFile(`${its}/package.json`));
      assert.deepEqual(Object.keys(dependencies), [
        "@logtape/logtape",
        "@opentelemetry/api",
        "eventsource-parser",
        "fast-check",
        "fastest-levenshtein",
        "postgres",
        "smol-toml",
        "uuid",
        "zod",
      ]);
      assert.equal(engines.node, ">=22.16.0");
      for (const { types, import: code } of Object.values(exports) as { types: string; import: string }[]) {
        for (const file of [types, code]) assert.ok((await Deno.stat(`${its}/${file}`)).isFile, file);
      }
      assert.deepEqual(await Array.fromAsync(filesWith(/\bDeno\b/, its)), [`${its}/src/lib/platform.js`]);
      assert.match(await Deno.readTextFile(`${its}/README.md`), /npm install/);
    });

    await test.step("its client over HTTP loads no driver", async () => {
      const loaded = new Set<string>();
      const load = async (file: string): Promise<void> => {
        if (loaded.has(file)) return;
        loaded.add(file);
        if (!file.startsWith("/")) return;
        const code = await codeOf(file);
        for (const [, from] of code.matchAll(/(?:from|import\()\s*"([^"]+)"/g)) {
          await load(from.startsWith(".") ? resolve(dirname(file), from) : from);
        }
      };
      await load(`${folder}/node_modules/@annals/annals/src/client/http/mod.js`);
      const others = [...loaded].filter((file) => !file.startsWith("/")).sort();
      assert.deepEqual(others, [
        "eventsource-parser",
        "fastest-levenshtein",
        "node:crypto",
        "uuid",
        "zod",
      ]);
    });

    await test.step("its types are those of the domain", async () => {
      const [program, script] = tsc;
      await output(program, [script, "--project", "."], folder);
    });

    for (const [name, program] of Object.entries({ node, bun })) {
      const ways = {
        ...Object.fromEntries(Object.entries(sites).map(([kind, { file }]) => [kind, [file]])),
        HTTP: [`http://127.0.0.1:${port}`, TOKEN],
      };
      for (const [kind, way] of Object.entries(ways)) {
        await test.step(`on ${name}, a client by ${kind} sends a command and reads the row`, async () => {
          const account = `${name} by ${kind}`;
          const row = { accountId: account, balance: 5 };
          assert.deepEqual(JSON.parse(await run(program, "program.ts", account, ...way)), {
            outcome: { status: "accepted", events: ["Deposited"] },
            row,
            rows: [row],
            event: { accountId: account, amount: 5 },
            time: true,
          });
        });
      }

      await test.step(`on ${name}, a client tells what may have been stored from what was not`, async () => {
        const closed = await HttpStub.start(() => HANG_UP);
        await closed[Symbol.asyncDispose]();
        await using lost = await HttpStub.start(() => HANG_UP);
        assert.equal(await run(program, "away.ts", closed.url, lost.url), "wait\nunsure\n");
      });

      await test.step(`on ${name}, the stores do what they do on Deno`, async () => {
        const { passed, failed } = JSON.parse(await run(program, "suite.ts"));
        assert.deepEqual([passed > 100, failed], [true, 0]);
      });
    }
  },
});
