import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import unruly, { Ask } from "../../fixtures/unruly/domain.ts";
import { auditRecords } from "../../../src/operating/audit.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";
import { canOpenTerminal, TerminalProgram } from "../../support/terminal.ts";

const MODULE = new URL("../../fixtures/unruly/domain.ts", import.meta.url);
const ANNALS = fileURLToPath(new URL("../../../src/cli/annals.ts", import.meta.url));
const LEAVE = "\x1b[?25h\x1b[?1049l";

function top(site: Site): TerminalProgram {
  const args = ["run", "-A", "--no-check", ANNALS, "--config", site.file, "top"];
  return new TerminalProgram([Deno.execPath(), ...args], site.folder, { rows: 24, columns: 100 });
}

Deno.test({
  name: "annals top shows groups live, inspects and replays a dead letter by keys, and gives the terminal back",
  ignore: !canOpenTerminal(),
  fn: async () => {
    await using site = Site.make("unruly", MODULE, "[server.stream_subscription]\nmax_retries = 0\n");
    const server = await site.start().running();
    await using client = await site.connect(unruly);
    await client.process(Ask({ id: "1", kind: "Thrower" }));
    const letters = () => client.store.deadLetters();
    await until(async () => (await letters()).length === 1, () => "the dead letter");
    const [{ id, error }] = await letters();

    const once = await command("annals", ["--config", site.file, "top", "--once"], site.folder);
    assert.equal(once.code, 0, once.stderr);
    assert.match(once.stdout, /^unruly +position \d+ .*1 process/);
    assert.match(once.stdout, /^ +Thrower +[\d.]+ +[\d.]+ +0 +- +0 +0 +1 +1\/1$/m);
    assert.ok(!once.stdout.includes("\x1b"));

    await using program = top(site);
    // What needs somebody is chosen first.
    await program.shows(/▸ Thrower/);
    await client.process(Ask({ id: "2", kind: "Thrower" }));
    await program.shows(/▸ Thrower +[\d.]+ +[\d.]+ +0 +- +0 +0 +2/);
    await program.resize(12, 40);
    const isSmall = () => {
      const { screen } = program;
      return screen.length <= 12 && screen.every((line) => line.length <= 40) &&
        /▸ Thrower.* 2$/m.test(screen.join("\n"));
    };
    await until(isSmall, () => `a smaller frame in\n${program.screen.join("\n")}`);
    await program.resize(30, 110);
    await program.press("\r");
    await program.shows(/dead letters, newest first\n▸ .*Asked/);
    // The older one.
    await program.press("j\r");
    await program.shows(new RegExp(`dead letter +${id}`));
    assert.ok(program.screen.join("\n").includes(error));
    await program.press("r");
    await program.shows(/Hand "Asked" at \d+ back to Thrower\? y\/n/);
    await program.press("n");
    await program.shows(/Nothing was replayed/);
    assert.ok((await letters()).some((one) => one.id === id));
    await program.press("r");
    await program.shows(/y\/n/);
    await program.press("y");
    await program.shows(/Replayed 1\./);
    // It fails again, and is another dead letter.
    await until(
      async () => (await letters()).length === 2 && (await letters()).every((one) => one.id !== id),
      () => "the replayed message to fail again",
    );
    const [record] = await auditRecords({ store: client.store, domain: unruly });
    assert.deepEqual([record.action, record.details, record.error], [
      "dlq replay",
      { ids: [id], isAnyway: false },
      null,
    ]);
    assert.match(record.who, /^cli:.+@.+$/);
    // Esc waits for what may follow it.
    await program.press("\x1b");
    await program.shows(/▸ Thrower/);
    await program.press("q");
    assert.deepEqual(await program.ended(), { code: 0, was_raw: true, is_restored: true });
    assert.ok(program.output.endsWith(LEAVE), JSON.stringify(program.output.slice(-60)));
    assert.equal(await server.stop(), 0);
  },
});

Deno.test({
  name: "annals top says that what it shows is old while the store does not answer, and that a replay failed",
  ignore: !canOpenTerminal() || Deno.build.os === "windows",
  fn: async () => {
    const toml = '[event_store]\nurl = "memory:"\n[server.stream_subscription]\nmax_retries = 0\n';
    await using site = Site.make("unruly", MODULE, toml);
    const server = await site.start().running();
    await using client = await site.connect(unruly);
    await client.process(Ask({ id: "1", kind: "Thrower" }));
    await using program = top(site);
    await program.shows(/▸ Thrower.* 1 +1\/1/);
    server.signal("SIGSTOP");
    await program.shows(/has not answered for \d+ s/);
    assert.match(program.screen.join("\n"), /▸ Thrower/);
    server.signal("SIGCONT");
    await until(() => !program.screen.join("\n").includes("has not answered"), () => "an answer");
    await server.kill();
    await program.shows(/has exited/);
    await program.press("R");
    await program.shows(/y\/n/);
    await program.press("y");
    await program.shows(/Replaying failed: /);
    await program.press("q");
    assert.equal((await program.ended()).code, 0);
  },
});

Deno.test({
  name: "annals top gives the terminal back when it is told to end, also while the store is gone",
  ignore: !canOpenTerminal(),
  fn: async () => {
    await using site = Site.make("unruly", MODULE, '[event_store]\nurl = "memory:"\n');
    const server = await site.start().running();
    for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130]] as const) {
      await using program = top(site);
      await program.shows(/▸ /);
      await program.press("s");
      await program.shows(/by lag/);
      await program.signal(signal);
      assert.deepEqual(await program.ended(), { code, was_raw: true, is_restored: true });
      assert.ok(program.output.endsWith(LEAVE));
    }
    await using program = top(site);
    await program.shows(/▸ /);
    await server.kill();
    await program.shows(/has exited/);
    await program.press("\x03");
    assert.deepEqual(await program.ended(), { code: 0, was_raw: true, is_restored: true });
  },
});

Deno.test({
  name: "a terminal is given back also when the program crashes, or exits in the middle",
  ignore: !canOpenTerminal(),
  fn: async () => {
    const fixture = fileURLToPath(new URL("../../fixtures/crash_in_terminal.ts", import.meta.url));
    const command = [Deno.execPath(), "run", "-A", "--no-check", fixture];
    await Promise.all([["e", 3], ["t", 1], ["r", 1]].map(async ([key, code]) => {
      await using program = new TerminalProgram(command, Deno.cwd(), { rows: 5, columns: 20 });
      await program.shows(/▸ ready/);
      await program.press(String(key));
      assert.deepEqual(await program.ended(), { code, was_raw: true, is_restored: true }, String(key));
      assert.ok(program.output.includes(LEAVE), String(key));
    }));
  },
});
