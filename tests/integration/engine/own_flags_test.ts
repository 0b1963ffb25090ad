import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { flagsOf, isBySpecifier } from "../../../src/isolation/own_flags.ts";

const SERVER = new URL("../../../server.ts", import.meta.url).href;
const path = fileURLToPath(SERVER);

Deno.test("a host is started with the flags that say how modules are found, and no others", () => {
  const flags = [
    "-A",
    "--config",
    "own.json",
    "--v8-flags=--x",
    "--inspect-wait",
    "--lock=own.lock",
    "--env-file=.env",
  ];
  assert.deepEqual(flagsOf(["deno", "run", ...flags, path, "--config=x", "--domain=x"], SERVER), [
    "--config",
    "own.json",
    "--lock=own.lock",
  ]);
  assert.deepEqual(flagsOf(["deno", "run", "-A", path, ""], SERVER), []);
});

const OWN: Record<string, { file: string; settings: Record<string, unknown>; program: string[] }> = {
  "named on the command line": {
    file: "own.json",
    settings: { imports: { "@annals/annals": new URL("../../../mod.ts", import.meta.url).href, "@lib/": "./lib/" } },
    program: ["--config", "own.json", path],
  },
  "of the folder, with the package mapped by path": {
    file: "deno.json",
    settings: {
      imports: {
        "@annals/annals": new URL("../../../mod.ts", import.meta.url).href,
        "@annals/annals/server": SERVER,
        "@lib/": "./lib/",
      },
    },
    program: ["@annals/annals/server"],
  },
  "of the folder, with a linked package": {
    file: "deno.json",
    settings: {
      imports: { "@annals/annals": "jsr:@annals/annals", "@lib/": "./lib/" },
      links: [new URL("../../..", import.meta.url).href.replace(/\/$/, "")],
    },
    program: ["@annals/annals/server"],
  },
};

for (const [what, { file, settings, program }] of Object.entries(OWN)) {
  Deno.test(`a domain with a configuration ${what} finds its imports`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "annals-" });
    await Deno.mkdir(`${folder}/lib`);
    await Deno.writeTextFile(`${folder}/${file}`, JSON.stringify({ ...settings, unstable: ["worker-options"] }));
    await Deno.writeTextFile(`${folder}/lib/start.ts`, "export const start = 1;");
    await Deno.writeTextFile(
      `${folder}/domain.ts`,
      `import { aggregate, domain, event, type } from "@annals/annals";
import { start } from "@lib/start.ts";
const Counted = event("Counted", { schema: type<{ by: number }>() });
const Counter = aggregate("Counter", { events: [Counted], initial: () => start, evolve: { Counted: (n) => n + 1 } });
export default domain("own", { aggregates: [Counter], handlers: [] });`,
    );
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", ...program, "--domain=./domain.ts"],
      cwd: folder,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let said = "";
    const reading = (async () => {
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        said += text;
        if (said.includes("Engine running")) child.kill("SIGTERM");
      }
    })();
    const errors = new Response(child.stderr).text();
    const { code } = await child.status;
    await reading;
    assert.equal(code, 0, await errors);
    assert.match(said, /Engine running/);
    await errors;
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test("a program named by a specifier is where the command line's own flags end", () => {
  for (const program of ["jsr:@annals/annals/server", "https://example.com/server.ts", "@annals/annals/server"]) {
    const args = ["deno", "run", "-A", "-c", "own.json", "--seed", "7", program, "--config=production.toml", ""];
    assert.deepEqual(flagsOf(args, "https://jsr.io/@annals/annals/0.1.0/server.ts"), ["-c", "own.json"], program);
    assert.ok(isBySpecifier(args), program);
  }
  assert.ok(!isBySpecifier(["deno", "run", "-A", path, "--domain=x"]));
  assert.ok(!isBySpecifier(["deno", "test", "-A", "tests"]));
  assert.ok(!isBySpecifier([]));
});
