import { command, DomainDefinitionError, PayloadError, projection, type } from "@annals/annals";
import { IdempotencyKeyError, type LiveEvent, ProjectionBehindError } from "@annals/annals/client";
import { connect, HttpError } from "@annals/annals/client/http";
import assert from "node:assert/strict";
import bank, { Balance, Deposit, Withdraw } from "../../../examples/bank/bank.ts";
import { makeCertificates } from "../../support/certificates.ts";
import { Site } from "../../support/server.ts";
import { freePort } from "../../support/services.ts";

const MODULE = new URL("../../../examples/bank/bank.ts", import.meta.url);
const TOKEN = "a-token-of-enough-characters";

/** A server that is not started yet, and a client of it. */
function remote(send = fetch) {
  const port = freePort();
  const site = Site.make(
    "bank",
    MODULE,
    `[server.http]\nlisten = "127.0.0.1:${port}"\napi = true\ntoken = "${TOKEN}"\n[server.stream_subscription]\nretry_delay_seconds = 60\n`,
  );
  const url = `http://127.0.0.1:${port}`;
  return { site, url, client: connect(bank, { url, token: TOKEN, fetch: send }) };
}

Deno.test("a client over HTTP does what a client of the store does", async () => {
  const { site, url, client } = remote();
  await using _ = site;
  await site.start().running();
  await using beside = await site.connect(bank);

  const deposit = Deposit({ accountId: "a/1 é", amount: 30 });
  const receipt = await client.process(deposit, { until: [Balance], idempotencyKey: "one" });
  assert.deepEqual(receipt.outcome, { status: "accepted", events: ["Deposited"] });
  assert.deepEqual([receipt.aggregateId, receipt.reached, receipt.behind], ["a/1 é", true, []]);
  assert.deepEqual(await client.outcome(receipt.commandId), await beside.outcome(receipt.commandId));
  assert.equal(await client.outcome("none"), null);
  const again = await client.process(deposit, { idempotencyKey: "one" });
  assert.deepEqual([again.commandId, again.repeated], [receipt.commandId, true]);
  await assert.rejects(
    client.process(Deposit({ accountId: "b", amount: 1 }), { idempotencyKey: "one" }),
    (error) => error instanceof IdempotencyKeyError && error.commandId === receipt.commandId,
  );
  const refused = Withdraw({ accountId: "a/1 é", amount: 31 });
  const { outcome } = await client.process(refused, { wait: true });
  assert.deepEqual(outcome, (await beside.process(refused, { wait: true })).outcome);

  const { token } = await client.process(Deposit({ accountId: "..", amount: 7 }));
  assert.deepEqual(await client.row(Balance, "..", { after: token }), { accountId: "..", balance: 7 });
  assert.deepEqual(await client.row(Balance, "a/1 é"), await beside.row(Balance, "a/1 é"));
  assert.equal(await client.row(Balance, "nobody"), null);
  const ordered = { orderBy: [["accountId", "desc"]], limit: 1 } as const;
  const page = await client.query(Balance, ordered);
  assert.deepEqual(page, await beside.query(Balance, ordered));
  const next = await client.query(Balance, { ...ordered, cursor: page.cursor });
  assert.deepEqual(next, { rows: [{ accountId: "..", balance: 7 }], cursor: null });
  const where = { balance: { gt: 7, in: [7, 30] } };
  assert.deepEqual(await client.first(Balance, { where, scan: true }), { accountId: "a/1 é", balance: 30 });
  assert.equal(await client.count(Balance, { where, scan: true }), 1);

  // Programs whose code is not that of the server.
  const Nothing = projection("Nothing", { key: "id", schema: type<{ id: string }>() });
  await assert.rejects(client.row(Nothing, "a"), DomainDefinitionError);
  const Balanced = projection("Balance", { key: "accountId", schema: Deposit.schema });
  await assert.rejects(client.row(Balanced, "a/1 é"), HttpError);
  const loose = {
    ...command("Deposit", { schema: type<{ accountId: string; amount: number }>() })({ accountId: "a", amount: 1.5 }),
  };
  await assert.rejects(
    client.process(loose),
    (error) => error instanceof PayloadError && error.faults[0].path === "amount",
  );
  await assert.rejects(
    connect(bank, { url, token: "another-token-of-enough-chars" }).row(Balance, "a"),
    (error) => error instanceof HttpError && error.status === 401,
  );
});

Deno.test("a client over HTTP follows the events across a restart of the server, each once", async () => {
  const open = Promise.withResolvers<void>();
  const { site, client } = remote(async (...request) => {
    const response = await fetch(...request);
    if (String(request[0]).includes("/events")) open.resolve();
    return response;
  });
  await using _ = site;
  const first = await site.start().running();
  await using beside = await site.connect(bank);
  const seen: LiveEvent[] = [];
  // From now on: nothing has come when the server ends.
  const following = (async () => {
    for await (const one of client.events({ types: ["Deposited"] })) if (seen.push(one) === 4) return;
  })();
  await open.promise;
  // By when this is decided, the client knows where to go on.
  await client.process(Withdraw({ accountId: "a", amount: 1 }), { wait: true });
  assert.equal(await first.stop(), 0);
  await beside.process(Deposit({ accountId: "a", amount: 1 }));
  const second = await site.start().running();
  await client.process(Deposit({ accountId: "a", amount: 2 }), { wait: true });
  await second.kill();
  await site.start().running();
  await client.process(Deposit({ accountId: "a", amount: 3 }), { wait: true });
  const { token } = await client.process(Deposit({ accountId: "a", amount: 4 }), { wait: true });
  await following;
  assert.deepEqual(seen.map(({ event }) => (event.payload as { amount: number }).amount), [1, 2, 3, 4]);
  const stored = (await beside.events({ after: "start" }).next()).value as LiveEvent;
  assert.deepEqual(seen[0], stored);
  // What a token of a command leads to, and a token of an event.
  await client.process(Deposit({ accountId: "a", amount: 5 }));
  for (const after of [token, seen[3].token]) {
    const [next] = [(await client.events({ after }).next()).value as LiveEvent];
    assert.equal((next.event.payload as { amount: number }).amount, 5);
  }
});

Deno.test("a client over HTTP is told which projection is behind, and why", async () => {
  const { site, client } = remote();
  await using _ = site;
  await site.start().running();
  const most = Deposit({ accountId: "a", amount: Number.MAX_SAFE_INTEGER });
  await client.process(most, { until: [Balance] });
  // The row cannot hold twice as much, so its projector fails, and tries again.
  const { token, reached, behind } = await client.process(most, { until: [Balance], timeout: 2_000 });
  assert.deepEqual([reached, behind], [false, [{ projection: "Balance", why: "parked" }]]);
  await assert.rejects(
    client.row(Balance, "a", { after: token, timeout: 0 }),
    (error) => error instanceof ProjectionBehindError && error.behind.why === "parked",
  );
});

Deno.test("a certificate that is not accepted is said to be that at once, whatever is wrong with it", async () => {
  await using files = await makeCertificates();
  const read = (name: string) => Deno.readTextFile(`${files.folder}/${name}`);
  // One of an unknown authority, and one that has signed itself.
  for (const name of ["server", "ca"]) {
    const pair = { key: await read(`${name}.key`), cert: await read(`${name}.crt`) };
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...pair };
    await using server = Deno.serve(options, () => Response.json({}));
    const client = connect(bank, { url: `https://localhost:${server.addr.port}` });
    await assert.rejects(
      client.row(Balance, "a"),
      (error) =>
        error instanceof HttpError && error.recovery === "none" && /certificate.*DENO_CERT/.test(error.message),
    );
  }
});
