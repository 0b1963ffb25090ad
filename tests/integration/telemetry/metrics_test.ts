import { Engine } from "@annals/annals/engine";
import assert from "node:assert/strict";
import unruly, { Ask } from "../../fixtures/unruly/domain.ts";
import { Site, until } from "../../support/server.ts";
import { programs } from "../../support/services.ts";

const ROOT = new URL("../../../", import.meta.url);
const MODULE = new URL("tests/fixtures/unruly/domain.ts", ROOT);
const promtool = programs().promtool;
const ignore = promtool === null;

/** Runs promtool; its output if it finds nothing wrong. */
async function check(args: string[], input = ""): Promise<string> {
  const child = new Deno.Command(promtool!, { args, cwd: ROOT, stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.ok(success, `promtool ${args.join(" ")}: ${said}`);
  return said;
}

/** The names of all metrics in a text, with those that a histogram has. */
function namesIn(text: string): Set<string> {
  const types = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)];
  return new Set(
    types.flatMap(([, name, type]) =>
      type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    ),
  );
}

Deno.test("a running engine exports what Prometheus takes, alerts ask for, and dashboards show", {
  ignore,
}, async () => {
  await using site = Site.make("unruly", MODULE, "[server.stream_subscription]\nmax_retries = 0\n");
  const engine = new Engine({ module: MODULE.href, config: site.config });
  const metrics = engine.metrics();
  assert.match(await metrics.metricsText(), /^annals_store_up 0$/m);
  await engine.start();
  const text = async (): Promise<string> => await engine.metrics().metricsText();
  try {
    await using client = await site.connect(unruly);
    for (const kind of ["none", "Thrower", "none"]) await client.process(Ask({ id: kind, kind }));
    const expected = [
      /^annals_messages_handled_total\{group="Asker",outcome="handled"\} 3$/m,
      /^annals_messages_handled_total\{group="Thrower",outcome="handled"\} 2$/m,
      /^annals_messages_handled_total\{group="Thrower",outcome="dead"\} 1$/m,
      /^annals_dead_letters\{group="Thrower"\} 1$/m,
      /^annals_lag_messages\{group="Witness"\} 0$/m,
      /^annals_leases_held\{group="Witness"\} 1$/m,
      /^annals_partitions\{group="Witness",state="running"\} 1$/m,
      /^annals_worker_restarts_total\{group="Witness"\} 0$/m,
      /^annals_worker_heap_bytes\{worker="Witness#0\/1"\} [1-9]\d{5,}$/m,
      /^annals_handling_seconds_count\{group="Witness"\} [1-9]/m,
      /^annals_commit_seconds_count\{group="Witness"\} [1-9]/m,
      /^annals_outbox_waiting 0$/m,
      /^annals_store_up 1$/m,
      /^annals_members 1$/m,
    ];
    let seen = "";
    await until(async () => {
      seen = await text();
      return expected.every((pattern) => pattern.test(seen));
    }, () => expected.filter((pattern) => !pattern.test(seen)).join("\n"));
    await check(["check", "metrics"], seen);
    const names = namesIn(seen);
    const used = new Set<string>();
    for (const file of ["docs/alerts.yml", "docs/grafana.json"]) {
      const source = await Deno.readTextFile(new URL(file, ROOT));
      const exprs = file.endsWith(".json")
        ? expressionsOf(JSON.parse(source))
        : [source.replaceAll(/^ *(#|desc).*$/gm, "")];
      for (const name of exprs.join("\n").matchAll(/\b(annals|process)_\w+/g)) used.add(name[0]);
    }
    assert.ok(used.size > 20);
    assert.deepEqual([...used].filter((name) => !names.has(name)), []);
    const described = [
      ...(await Deno.readTextFile(new URL("docs/telemetry.md", ROOT))).matchAll(/^\| `(\w+)` \| (\w+) \|/gm),
    ];
    const exported = [...seen.matchAll(/^# TYPE (\w+) (\w+)$/gm)];
    const sorted = (found: RegExpExecArray[]) => found.map(([, name, type]) => `${name} ${type}`).sort();
    assert.deepEqual(sorted(described), sorted(exported));
    for (const host of engine.hosts) Deno.kill(host, "SIGKILL");
    // One that has nothing to do is started when it has.
    await client.process(Ask({ id: "again", kind: "none" }));
    await until(
      async () => /^annals_worker_restarts_total\{group="Witness"\} 1$/m.test(await text()),
      () => "the restart to be counted",
    );
  } finally {
    await engine.stop();
  }
});

/** All queries of a dashboard. */
function expressionsOf(dashboard: any): string[] {
  const panels = dashboard.panels.flatMap(({ targets }: any) => targets.map(({ expr }: any) => expr));
  return [...panels, ...dashboard.templating.list.map(({ query }: any) => query.query ?? "")];
}

Deno.test("the alerts sound when they should, and at no other time", { ignore }, async () => {
  assert.match(await check(["check", "rules", "docs/alerts.yml"]), /1[0-9] rules found/);
  await check(["test", "rules", "tests/fixtures/alerts_test.yml"]);
  const rules = await Deno.readTextFile(new URL("docs/alerts.yml", ROOT));
  const tested = await Deno.readTextFile(new URL("tests/fixtures/alerts_test.yml", ROOT));
  for (const [, name] of rules.matchAll(/alert: (\w+)/g)) {
    assert.match(tested, new RegExp(`alertname(=|: )"?${name}`), `no test of ${name}`);
  }
});
