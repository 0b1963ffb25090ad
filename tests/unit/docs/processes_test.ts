import assert from "node:assert/strict";

const ROOT = new URL("../../../", import.meta.url);

Deno.test("each row of the table of inputs has its test", async () => {
  const text = await Deno.readTextFile(new URL("docs/processes.md", ROOT));
  const sources = await Promise.all(
    ["process_test.ts", "halting_test.ts"].map((name) =>
      Deno.readTextFile(new URL(`tests/unit/processes/${name}`, ROOT))
    ),
  );
  const rows = text.split("\n").filter((line) =>
    line.startsWith("| ") && line.includes(" | ") && !line.startsWith("| input")
  );
  assert.ok(rows.length >= 10);
  for (const row of rows) {
    const cell = row.split("|").at(-2)!.trim();
    const quoted = [...cell.matchAll(/“([^”]+)”/g)].map(([, test]) => test);
    assert.ok(quoted.length > 0 || cell === "the same", row);
    for (const test of quoted) assert.ok(sources.some((source) => source.includes(test)), `no test “${test}”`);
  }
});

Deno.test("the process of the tutorial is tested as the tutorial says, in a folder of its own", async () => {
  const text = await Deno.readTextFile(new URL("docs/processes.md", ROOT));
  const [domain, tests] = [...text.matchAll(/```ts[^\n]*\n(.*?)```/gs)].map(([, code]) => code);
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  try {
    const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
    const own = {
      "@annals/annals": new URL("mod.ts", ROOT).href,
      "@annals/annals/testing": new URL("src/testing/mod.ts", ROOT).href,
    };
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ imports: { ...imports, ...own } }));
    await Deno.writeTextFile(`${folder}/trials.ts`, domain);
    await Deno.writeTextFile(`${folder}/trials_test.ts`, tests);
    // No permission at all.
    const args = ["test", "--no-lock", "trials_test.ts"];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: folder }).output();
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(code, 0, said);
    assert.match(said, /2 passed/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
