import assert from "node:assert/strict";

const ROOT = new URL("../../../", import.meta.url);
const text = await Deno.readTextFile(new URL("docs/guarantees.md", ROOT));
const rows = text.split("\n").filter((line) => /^\| (?!-|#|failure|guarantee)/.test(line));

Deno.test("every guarantee has a test, every test it names exists, and has what is quoted of it", async () => {
  assert.ok(rows.length > 25);
  const missing: string[] = [];
  for (const row of rows) {
    const cell = row.split("|").at(-2)!;
    const named = [...cell.matchAll(/`(tests\/[^`]+|src\/[^`]+)`([^`]*)/g)];
    if (named.length === 0) missing.push(`no test: ${row}`);
    for (const [, path, rest] of named) {
      const url = new URL(path, ROOT);
      const found = await Deno.stat(url).catch(() => null);
      if (!found) missing.push(`there is no ${path}`);
      if (!found || found.isDirectory) continue;
      const source = await Deno.readTextFile(url);
      const quoted = [...rest.matchAll(/“([^”]+)”/g)].flatMap(([, quoted]) => quoted.split("…"));
      missing.push(...quoted.filter((part) => !source.includes(part.trim())).map((part) => `${path} has no “${part}”`));
    }
  }
  assert.deepEqual(missing, []);
});
