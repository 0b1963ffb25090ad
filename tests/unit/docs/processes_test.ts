import assert from "node:assert/strict";

const ROOT = new URL("../../../", import.meta.url);

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
