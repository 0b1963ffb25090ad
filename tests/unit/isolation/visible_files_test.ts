import assert from "node:assert/strict";
import { exposing, NO_SERVER_FILES, serverFilesOf, visibleIn } from "../../../src/isolation/visible_files.ts";
import { loadConfig } from "@annals/annals/config";

async function project(files: readonly string[]): Promise<string> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "annals-visible-" }));
  for (const file of files) {
    const path = `${folder}/${file}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(path, "x");
  }
  return folder;
}

const nameOf = (folder: string) => (path: string) => path.slice(folder.length + 1);

Deno.test("handlers read their folder whole if there is nothing in it that they may not see", async () => {
  const folder = await project(["domain.ts", "parts/more.ts", "parts/data.json"]);
  await Deno.symlink("parts/data.json", `${folder}/data.json`);
  assert.deepEqual(visibleIn(folder, NO_SERVER_FILES), [folder]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("handlers do not see secrets, the server's files, nor what links lead to", async () => {
  const hidden = [".env", ".env.local", ".git/config", "parts/.env", "parts/own.pem", "domain.toml"];
  const data = [".annals/bank.db", ".annals/bank.db-wal", "data/bank.db", "data/bank.db-broker"];
  const code = ["domain.ts", "parts/more.ts", "data/rates.json", "node_modules/a/b.js"];
  const folder = await project([...hidden, ...data, ...code]);
  await Deno.symlink("/etc", `${folder}/etc`);
  await Deno.symlink("/nowhere", `${folder}/dangling`);
  await Deno.writeTextFile(`${folder}/domain.toml`, '[event_store]\nurl = "sqlite:data/{domain}.db"\n');
  const config = loadConfig({ file: `${folder}/domain.toml` });
  assert.deepEqual(
    visibleIn(folder, serverFilesOf(config)).map(nameOf(folder)).sort(),
    ["data/rates.json", "domain.ts", "node_modules", "parts/more.ts"],
  );
  const exposed = (...paths: string[]) => exposing(paths.map((path) => `${folder}${path}`), config, "bank");
  assert.equal(exposed("/data/rates.json", "/parts"), undefined);
  for (const path of ["", "/data", "/data/bank.db", "/data/bank.db-wal"]) {
    assert.equal(exposed(path), `${folder}${path}`);
  }
  assert.equal(exposing(["/"], config, "bank"), "/");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a file that the server will make is not seen when it comes", async () => {
  const folder = await project(["domain.ts", "parts/more.ts", "data/rates.json"]);
  const seen = (config: string) => {
    Deno.writeTextFileSync(`${folder}/domain.toml`, config);
    return visibleIn(folder, serverFilesOf(loadConfig({ file: `${folder}/domain.toml` }))).map(nameOf(folder)).sort();
  };
  assert.deepEqual(seen(""), ["data", "domain.ts", "parts"]);
  assert.deepEqual(
    seen('[event_store]\nurl = "sqlite:data/{domain}.db"\n'),
    ["data/rates.json", "domain.ts", "parts"],
  );
  await Deno.remove(folder, { recursive: true });
});
