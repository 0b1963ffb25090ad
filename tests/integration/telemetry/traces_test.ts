import assert from "node:assert/strict";
import fidelisDomain from "../../../examples/fidelis/domain.ts";
import { command } from "../../support/command.ts";
import { type ExportedSpan, OtlpReceiver } from "../../support/otlp_receiver.ts";
import { Server, Site, until } from "../../support/server.ts";
import { withSchema } from "../../support/postgres.ts";
import { withPrefix } from "../../support/redis.ts";
import { databaseUrl, freePort, redisUrl } from "../../support/services.ts";

const MODULE = new URL("../../../examples/fidelis/domain.ts", import.meta.url);

/** The steps of a transfer, from the command that starts it to the rows that show it, each with what it follows from. */
const STEPS: Record<string, readonly string[]> = {
  "process InitiateTransfer": [],
  "decide InitiateTransfer": ["process InitiateTransfer"],
  "handle TransferInitiated": ["decide InitiateTransfer"],
  "handle $Event": ["handle TransferInitiated", "handle WithdrawalMade", "handle DepositMade"],
  "decide MakeWithdrawal": ["handle $Event"],
  "project WithdrawalMade": ["decide MakeWithdrawal"],
  "handle WithdrawalMade": ["decide MakeWithdrawal"],
  "decide MakeDeposit": ["handle $Event"],
  "project DepositMade": ["decide MakeDeposit"],
  "handle DepositMade": ["decide MakeDeposit"],
  "decide CompleteTransfer": ["handle $Event"],
};

/** Those who take part in it. */
const GROUPS = [
  "TransferCommandHandler",
  "FundsTransferRouter",
  "FundsTransfer",
  "AccountCommandHandler",
  "AccountSummaryProjector",
];

/** All of them, and the commits and the relay in between. */
const HOPS = [...Object.keys(STEPS), "append", "relay"];

/** Two servers that are traced, and a transfer by a client that is. */
async function transferred(toml: string, envOf: (receiver: OtlpReceiver) => Record<string, string>) {
  const receiver = new OtlpReceiver();
  const site = Site.make("fidelis", MODULE, toml);
  const own = [`--domain=fidelis`, `--config=${site.file}`];
  const servers = ["server a", "server b"].map((name) => new Server(own, site.folder, receiver.env(name)));
  const fidelis = async (env: Record<string, string>, ...args: string[]) => {
    const { code, stdout, stderr } = await command("fidelis", ["--config", site.file, ...args], site.folder, env);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  const open = (number: string) =>
    fidelis({}, "open", "--number", number, "--holder", number, "--deposit", "100.00", "--wait");
  try {
    for (const server of servers) await server.running();
    await using client = await site.connect(fidelisDomain);
    const owners = async () =>
      new Set(
        (await client.store.leases()).filter(({ isHeld, group }) => isHeld && GROUPS.includes(group)).map((one) =>
          one.owner
        ),
      );
    await until(async () => (await owners()).size === 2, () => "both servers to have something to do");
    const [from, to] = [await open("A-1"), await open("B-1")];
    const sent = JSON.parse(await fidelis(envOf(receiver), "transfer", from, to, "30.00", "--wait", "--json"));
    const ofTransfer = () =>
      receiver.spans.filter(({ attributes }) => attributes["annals.correlation_id"] === sent.commandId);
    await until(
      () => Object.keys(STEPS).every((step) => ofTransfer().some(({ name }) => name === step)),
      () => `the spans; there are ${ofTransfer().map(({ name }) => name)}`,
    );
    // Those of commits and of the relay that were under way.
    for (const server of servers) assert.equal(await server.stop(), 0);
  } finally {
    for (const server of servers) await server.kill();
    await site[Symbol.asyncDispose]();
  }
  return { receiver, [Symbol.asyncDispose]: () => receiver[Symbol.asyncDispose]() };
}

const names = (spans: Iterable<ExportedSpan>): string[] => [...new Set([...spans].map(({ name }) => name))];

/** Follows the links of a transfer, on the services that are configured. */
async function followLinks(toml: string): Promise<void> {
  await using traced = await transferred(toml, (receiver) => receiver.env("client"));
  const { spans } = traced.receiver;
  const first = spans.find(({ name }) => name === "process InitiateTransfer")!;
  assert.equal(first.service, "client");
  const caused = traced.receiver.causedBy(first);
  assert.deepEqual(HOPS.filter((hop) => !names(caused).includes(hop)), []);
  assert.deepEqual([...new Set([...caused].map(({ service }) => service))].sort(), ["client", "server a", "server b"]);
  for (const [step, causes] of Object.entries(STEPS)) {
    const found = [...caused].filter(({ name }) => name === step).flatMap(({ links }) =>
      links.map(({ spanId }) => spans.find((span) => span.spanId === spanId)?.name ?? "nothing")
    );
    assert.deepEqual([...new Set(found)].sort(), [...causes].sort(), step);
  }
  // Each step is a trace of its own, and short: only the commit is a part of the decision.
  const traces = Map.groupBy(caused, ({ traceId }) => traceId);
  for (const its of traces.values()) assert.ok(its.length <= 2, `${its.map(({ name }) => name)}`);
  const decided = [...caused].find(({ name }) => name === "decide MakeDeposit")!;
  const { attributes } = decided;
  assert.equal(attributes["annals.group"], "AccountCommandHandler");
  assert.equal(attributes["annals.type"], "MakeDeposit");
  assert.equal(attributes["annals.attempt"], 1);
  assert.equal(attributes["annals.correlation_id"], first.attributes["annals.correlation_id"]);
  assert.match(String(attributes["annals.stream"]), /^fidelis::account:command-/);
  assert.ok(Number(attributes["annals.position"]) > 0);
  // Accounts were opened by a client that is not traced: their traces begin where the server decides.
  const opening = spans.filter(({ name }) => name === "decide OpenAccount");
  assert.ok(
    opening.length === 2 && opening.every(({ links, parentSpanId }) => links.length === 0 && parentSpanId === ""),
  );
}

Deno.test("links lead from the command of a transfer to every step of it, across workers and processes", async () => {
  await followLinks("");
});

Deno.test("so they do through Redis and PostgreSQL", async () => {
  await using schema = await withSchema();
  await using keys = withPrefix();
  const store = `[event_store]\nurl = "${databaseUrl()}"\nschema = "${schema.name}"\n`;
  await followLinks(`${store}[brokers.default]\nurl = "${redisUrl()}"\nprefix = "${keys.prefix}"\n`);
});

Deno.test('with parent = "first", a transfer is one trace', async () => {
  const toml = '[server.telemetry]\nparent = "first"\n';
  await using traced = await transferred(toml, (receiver) => receiver.env("client"));
  const { spans } = traced.receiver;
  const first = spans.find(({ name }) => name === "process InitiateTransfer")!;
  const its = spans.filter(({ traceId }) => traceId === first.traceId);
  assert.deepEqual(HOPS.filter((hop) => hop !== "relay" && !names(its).includes(hop)), []);
  const known = new Set(its.map(({ spanId }) => spanId));
  assert.ok(its.every((span) => span === first || known.has(span.parentSpanId)));
});

Deno.test("a command that comes by HTTP goes on in the trace of whoever has sent it", async () => {
  const [port, token] = [freePort(), "a-token-of-enough-characters"];
  await using receiver = new OtlpReceiver();
  const toml = `[server.http]\nlisten = "127.0.0.1:${port}"\napi = true\ntoken = "${token}"\n`;
  const env = receiver.env("server");
  await using site = Site.make("bank", new URL("../../../examples/bank/bank.ts", import.meta.url), toml, env);
  const server = await site.start().running();
  const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  const response = await fetch(`http://127.0.0.1:${port}/commands/Deposit`, {
    method: "POST",
    body: JSON.stringify({ accountId: "a", amount: 30 }),
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      prefer: "wait=10",
      traceparent: `00-${traceId}-${spanId}-01`,
    },
  });
  assert.equal(response.status, 200);
  await response.body?.cancel();
  assert.equal(await server.stop(), 0);
  const sent = receiver.spans.find(({ name }) => name === "process Deposit")!;
  assert.equal(sent.traceId, traceId);
  assert.ok(names(receiver.causedBy(sent)).includes("decide Deposit"));
});
