import assert from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Site } from "../../support/server.ts";
import { freePort } from "../../support/services.ts";

const MODULE = new URL("../../../examples/bank/bank.ts", import.meta.url);
const TOKEN = "a-token-of-enough-characters";

/** Reads server-sent events until there are so many. */
async function eventsOf(response: Response, count: number): Promise<{ id: string; event: string; data: any }[]> {
  const found: { id: string; event: string; data: any }[] = [];
  let text = "";
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    const blocks = text.split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.data) found.push({ id: fields.id, event: fields.event, data: JSON.parse(fields.data) });
    }
    if (found.length >= count) break;
  }
  return found;
}

Deno.test("a program in any language sends commands, reads what came of them, and follows the events", async () => {
  const port = freePort();
  const toml = `[server.http]\nlisten = "127.0.0.1:${port}"\napi = true\ntoken = "${TOKEN}"\n`;
  await using site = Site.make("bank", MODULE, toml);
  const server = await site.start().running();
  const ask = async (path: string, init: RequestInit = {}, headers: Record<string, string> = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    });
    return { status: response.status, body: await response.json(), type: response.headers.get("content-type") };
  };
  const send = (name: string, payload: unknown, headers: Record<string, string> = {}) =>
    ask(`/commands/${name}`, { method: "POST", body: JSON.stringify(payload) }, {
      "content-type": "application/json",
      ...headers,
    });
  const wait = { prefer: "wait=10" };

  const first = await send("Deposit", { accountId: "a/1", amount: 30 }, { ...wait, "idempotency-key": "one" });
  assert.equal(first.status, 200);
  assert.deepEqual(first.body.outcome, { status: "accepted", events: ["Deposited"] });
  const again = await send("Deposit", { accountId: "a/1", amount: 30 }, { "idempotency-key": "one" });
  assert.deepEqual([again.status, again.body.repeated, again.body.commandId], [200, true, first.body.commandId]);
  assert.deepEqual([typeof first.body.position, again.body.position], ["number", undefined]);
  assert.equal((await send("Deposit", { accountId: "a/1", amount: 31 }, { "idempotency-key": "one" })).status, 409);
  const refused = await send("Withdraw", { accountId: "a/1", amount: 31 }, wait);
  assert.equal(refused.status, 409);
  assert.equal(refused.type, "application/problem+json");
  assert.deepEqual(refused.body.outcome.rule, "balance may not fall below zero");
  const faulty = await send("Deposit", { accountId: 7, amount: -1 });
  assert.equal(faulty.status, 422);
  assert.deepEqual(faulty.body.faults.map(({ path }: { path: string }) => path), ["accountId", "amount"]);
  const raw = (body: string) =>
    ask("/commands/Deposit", { method: "POST", body }, { "content-type": "application/json" });
  const rounded = await raw('{"accountId":"a","amount":9007199254740993}');
  assert.match(`${rounded.status} ${JSON.stringify(rounded.body.faults)}`, /^422 .*9007199254740993: JSON numbers are/);
  assert.match((await raw('{"accountId":"a",}')).body.title, /not JSON: .*line 1 column/);
  const method = await ask("/commands/Deposit");
  assert.match(`${method.status} ${method.body.title}`, /^405 GET is not .* POST$/);
  const unknown = await send("Depsit", {});
  assert.deepEqual([unknown.status, /did you mean "Deposit"/.test(unknown.body.title)], [404, true]);
  const undecided = await send("Deposit", { accountId: "b", amount: 5 });
  assert.deepEqual([undecided.status, undecided.body.outcome], [202, null]);
  const outcome = await ask(`/outcomes/${undecided.body.commandId}`, {}, wait);
  assert.equal(outcome.body.outcome.status, "accepted");
  assert.equal((await ask("/outcomes/none")).body.outcome, null);

  const after = { after: undecided.body.token };
  assert.deepEqual((await ask("/projections/Balance/b", {}, after)).body, { accountId: "b", balance: 5 });
  assert.deepEqual((await ask("/projections/Balance/a%2F1")).body, { accountId: "a/1", balance: 30 });
  assert.equal((await ask("/projections/Balance/c")).status, 404);
  assert.equal((await ask("/projections/Balanc")).status, 404);
  assert.equal((await ask("/projections/Balance/b", {}, { after: "no token" })).status, 400);
  assert.deepEqual((await ask("/projections/Balance?accountId=b")).body.rows, [{ accountId: "b", balance: 5 }]);
  assert.match((await ask("/projections/Balance?balance.gt=10")).body.title, /no index answers it/);
  assert.deepEqual((await ask("/projections/Balance?balance.gt=10&scan=true")).body.rows.length, 1);
  const where = encodeURIComponent(JSON.stringify({ balance: { lt: 10 } }));
  assert.deepEqual((await ask(`/projections/Balance?where=${where}&scan=true&count=true`)).body, { count: 1 });
  const page = (await ask("/projections/Balance?order=-accountId&limit=1")).body;
  assert.deepEqual(page.rows, [{ accountId: "b", balance: 5 }]);
  const next = (await ask(`/projections/Balance?order=-accountId&limit=1&cursor=${page.cursor}`)).body;
  assert.deepEqual(next, { rows: [{ accountId: "a/1", balance: 30 }], cursor: null });
  for (
    const wrong of [
      "limit=0x10",
      "limit=1&limit=2",
      "count=TRUE",
      "scan=1",
      "limit=0",
      "limit=x",
      "order=none",
      "cursor=x",
      "none=1",
      "where=x",
      "where=1",
      "balance.is=1",
    ]
  ) {
    assert.equal((await ask(`/projections/Balance?${wrong}`)).status, 400, wrong);
  }

  const follow = (query: string, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${port}/events?${query}`, { headers: { authorization: `Bearer ${TOKEN}`, ...headers } });
  const heard = await eventsOf(await follow("after=start"), 2);
  assert.deepEqual(heard.map(({ event, data }) => [event, data.payload]), [
    ["Deposited", { accountId: "a/1", amount: 30 }],
    ["Deposited", { accountId: "b", amount: 5 }],
  ]);
  // As a browser does that has lost its connection.
  const resumed = await eventsOf(await follow("after=start", { "last-event-id": heard[0].id }), 1);
  assert.equal(resumed[0].data.position, heard[1].data.position);
  const response = await follow("after=now&types=Withdrawn");
  await send("Withdraw", { accountId: "b", amount: 1 });
  assert.equal((await eventsOf(response, 1))[0].data.payload.amount, 1);
  const misspelt = await follow("types=Withdrawm");
  assert.match((await misspelt.json()).title, /did you mean "Withdrawn"/);

  const described = (await ask("/openapi.json")).body;
  assert.deepEqual(await new Validator().validate(described), { valid: true });
  const { openapi, paths, components } = described;
  assert.equal(openapi, "3.1.0");
  assert.deepEqual(Object.keys(paths), [
    "/commands/Deposit",
    "/commands/Withdraw",
    "/outcomes/{id}",
    "/projections/Balance",
    "/projections/Balance/{key}",
    "/events",
  ]);
  assert.deepEqual(components.schemas["command-Deposit"].required, ["accountId", "amount"]);
  assert.equal(components.schemas["command-Deposit"].properties.amount.exclusiveMinimum, 0);

  // What is open does not keep it from stopping.
  const open = await follow("after=now");
  assert.equal(await server.stop(), 0);
  await open.body!.cancel().catch(() => {});
});
