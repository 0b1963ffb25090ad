import { command } from "@annals/annals";
import { IdempotencyKeyError, OutcomeTimeoutError, ProjectionBehindError } from "@annals/annals/client";
import { connect, HttpError } from "@annals/annals/client/http";
import { DomainDefinitionError, PayloadError } from "@annals/annals";
import assert from "node:assert/strict";
import { z } from "zod";
import bank, { Balance, Deposit } from "../../../examples/bank/bank.ts";
import { HANG_UP, HttpStub, type Told } from "../../support/http_stub.ts";

const TOKEN = "bearer-token";
const deposit = Deposit({ accountId: "a/1", amount: 5 });
const sent = {
  commandId: "c1",
  aggregateId: "a/1",
  position: 7,
  repeated: false,
  token: "dG9rZW4",
  outcome: null,
};
const accepted = { status: "accepted", events: ["Deposited"] } as const;
const row = { accountId: "a/1", balance: 5 };

function clientOf({ url }: { readonly url: string }, patience = 0) {
  return connect(bank, { url, token: TOKEN, patience });
}

Deno.test("process() sends a command once, and its receipt is that of a client of the store", async () => {
  await using server = await HttpStub.start(() => [200, { ...sent, outcome: accepted }]);
  const receipt = await clientOf(server).process(deposit, { wait: true, timeout: 1_500, idempotencyKey: "k 1" });
  assert.deepEqual(receipt, { ...sent, outcome: accepted, reached: true, behind: [] });
  const [{ method, path, headers, body }] = server.asked;
  assert.deepEqual([method, path, JSON.parse(body)], ["POST", "/commands/Deposit", deposit.payload]);
  assert.equal(headers.authorization, `Bearer ${TOKEN}`);
  assert.equal(headers["content-type"], "application/json");
  assert.equal(headers["idempotency-key"], "k 1");
  assert.equal(headers.prefer, "wait=1.5");
  assert.equal(server.asked.length, 1);
});

Deno.test("process() without wait asks the server not to wait", async () => {
  await using server = await HttpStub.start(() => [202, sent]);
  const { outcome, commandId } = await clientOf(server).process(deposit);
  assert.deepEqual([outcome, commandId, server.asked[0].headers.prefer], [null, "c1", undefined]);
});

Deno.test("a refused or failed command is an outcome, not an error", async () => {
  const refused = { status: "refused", field: "Account", rule: "no", message: "Account: no" };
  const failed = { status: "failed", message: "boom" };
  await using server = await HttpStub.start((_, n) => [[409, 500][n], { ...sent, outcome: [refused, failed][n] }]);
  const client = clientOf(server);
  assert.deepEqual((await client.process(deposit, { wait: true, idempotencyKey: "k" })).outcome, refused);
  // Where something is to be waited for: what was refused shows nowhere.
  const { outcome, reached } = await client.process(deposit, { until: [Balance] });
  assert.deepEqual([outcome, reached, server.asked.length], [failed, true, 2]);
});

Deno.test("process() waits longer than the server does at once, and then says that the command is stored", async () => {
  await using server = await HttpStub.start((_, n) =>
    n === 0 ? [202, sent] : [200, { commandId: "c1", outcome: n < 2 ? null : accepted }]
  );
  assert.deepEqual((await clientOf(server).process(deposit, { wait: true })).outcome, accepted);
  assert.deepEqual(server.asked.map(({ path }) => path), ["/commands/Deposit", "/outcomes/c1", "/outcomes/c1"]);
  await using undecided = await HttpStub.start((_, n) => n === 0 ? [202, sent] : [200, { outcome: null }]);
  await assert.rejects(
    clientOf(undecided).process(deposit, { wait: true, timeout: 50 }),
    (error) => error instanceof OutcomeTimeoutError && error.commandId === "c1",
  );
});

Deno.test("what the server refuses is thrown as the errors of a client of the store", async () => {
  const faults = [{ path: "amount", message: "too small" }];
  const answers: [Told, (error: unknown) => boolean][] = [
    [
      [422, { title: "refused", faults }],
      (error) => error instanceof PayloadError && error.type === "Deposit" && error.faults[0].path === "amount",
    ],
    [
      [409, { title: "it was used", commandId: "c0" }],
      (error) => error instanceof IdempotencyKeyError && error.key === "k" && error.commandId === "c0",
    ],
    [[404, { title: "no such command" }], (error) => error instanceof DomainDefinitionError],
    [[413, { title: "too long" }], (error) => error instanceof PayloadError],
    [[401, { title: "who?" }], (error) => error instanceof HttpError && error.status === 401],
    [[500, { title: "inside" }], (error) => error instanceof HttpError && error.status === 500],
  ];
  for (const [answer, isRight] of answers) {
    await using server = await HttpStub.start(() => answer);
    await assert.rejects(clientOf(server).process(deposit, { idempotencyKey: "k" }), isRight);
    assert.equal(server.asked.length, 1);
  }
});

Deno.test("what cannot be right is refused before anything is sent", async () => {
  await using server = await HttpStub.start(() => [202, sent]);
  const client = clientOf(server);
  const Unknown = command("Unknown", { schema: z.object({}) });
  const wrong: (() => Promise<unknown>)[] = [
    () => client.process(Unknown({})),
    () => client.process(Deposit as never),
    () => client.process(deposit, { timeout: -1 }),
    () => client.process(deposit, { idempotencyKey: "é" }),
    () => client.process(deposit, { idempotencyKey: "k\r\nEvil: 1" }),
    () => client.process(deposit, { metadata: { a: 1 } } as never),
    () => client.process(deposit, { until: "Balance" as never }),
    () => client.row(Balance, ""),
    () => client.row("Balance" as never, "a"),
    () => client.row(Balance, "a", { asOf: 5 } as never),
    () => client.row(Balance, "a", { after: "a\r\nEvil: 1" }),
    () => client.query(Balance, { where: { nothing: 1 } as never }),
    () => client.query(Balance, { where: { balance: 1 } }),
    () => client.count(Balance, { where: { balance: "1" as never }, scan: true }),
    () => client.events({ category: "bank::account" } as never).next(),
    () => client.events({ after: "?" }).next(),
  ];
  for (const act of wrong) {
    await assert.rejects(async () => await act(), DomainDefinitionError, String(act));
  }
  assert.deepEqual(server.asked, []);
  for (const url of ["bank", "ftp://localhost", "http://user:hunter2@localhost"]) {
    assert.throws(() => connect(bank, { url }), (error: Error) => {
      return error instanceof DomainDefinitionError && !error.message.includes("hunter2");
    });
  }
  assert.throws(() => connect(bank, { url: "http://localhost", token: "a\nb" }), DomainDefinitionError);
});

Deno.test("row() reads a row as soon as it shows what it is to be after", async () => {
  await using server = await HttpStub.start((_, n) =>
    n === 0 ? [503, { title: "it is lagging", behind: { projection: "Balance", why: "lagging" } }] : [200, row]
  );
  assert.deepEqual(await clientOf(server).row(Balance, "a/1", { after: "dG9rZW4", timeout: 2_000 }), row);
  assert.equal(server.asked.length, 2);
  assert.equal(server.asked[0].path, "/projections/Balance/a%2F1");
  assert.deepEqual([server.asked[0].headers.after, server.asked[0].headers.prefer], ["dG9rZW4", "wait=2"]);
});

Deno.test("a projection that stays behind is named, with the reason", async () => {
  const behind = { projection: "Balance", why: "parked" };
  await using server = await HttpStub.start(({ method }) =>
    method === "POST" ? [200, { ...sent, outcome: accepted }] : [503, { title: "it is parked", behind }]
  );
  const client = clientOf(server);
  await assert.rejects(
    client.row(Balance, "a", { after: "dG9rZW4", timeout: 10 }),
    (error) => error instanceof ProjectionBehindError && error.behind.why === "parked",
  );
  const { reached, behind: found } = await client.process(deposit, { until: [Balance], timeout: 30 });
  assert.deepEqual([reached, found], [false, [behind]]);
  assert.equal(server.asked.at(-1)!.headers.after, sent.token);
});

Deno.test("a row that there is not is null, and a projection that there is not is an error", async () => {
  await using server = await HttpStub.start((
    _,
    n,
  ) => [404, n === 0 ? { title: "none", row: null } : { title: "none" }]);
  const client = clientOf(server);
  assert.equal(await client.row(Balance, "a"), null);
  await assert.rejects(client.row(Balance, "a"), DomainDefinitionError);
});

Deno.test("keys that mean something in paths are found by a condition", async () => {
  await using server = await HttpStub.start(() => [200, { rows: [], cursor: null }]);
  assert.equal(await clientOf(server).row(Balance, ".."), null);
  const { pathname, searchParams } = new URL(server.asked[0].path, server.url);
  assert.deepEqual([pathname, searchParams.get("where")], ["/projections/Balance", '{"accountId":".."}']);
});

Deno.test("query(), first() and count() ask for what a client of the store does", async () => {
  await using server = await HttpStub.start(({ path }) =>
    path.includes("count=true") ? [200, { count: 3 }] : [200, { rows: [row], cursor: "abc" }]
  );
  const client = clientOf(server);
  const page = await client.query(Balance, {
    where: { balance: { gt: 1 }, accountId: "a/1" },
    orderBy: [["balance", "desc"], ["accountId", "asc"]],
    limit: 1,
    cursor: "xyz",
    scan: true,
  });
  assert.deepEqual(page, { rows: [row], cursor: "abc" });
  assert.deepEqual(Object.fromEntries(new URL(server.asked[0].path, server.url).searchParams), {
    where: '{"balance":{"gt":1},"accountId":"a/1"}',
    order: "-balance,accountId",
    limit: "1",
    cursor: "xyz",
    scan: "true",
  });
  assert.deepEqual(await client.first(Balance), row);
  assert.equal(await client.count(Balance, { where: { balance: 5 }, scan: true }), 3);
});

Deno.test("a lost answer is asked for again, and a command is sent again only with a key", async () => {
  const answer = (n: number, told: Told): Told => n === 0 ? HANG_UP : told;
  await using plain = await HttpStub.start((_, n) => answer(n, [202, sent]));
  await assert.rejects(
    clientOf(plain, 5_000).process(deposit),
    (error) => error instanceof HttpError && error.recovery === "unsure",
  );
  assert.equal(plain.asked.length, 1);
  await using keyed = await HttpStub.start((_, n) => answer(n, [202, { ...sent, repeated: true }]));
  assert.equal((await clientOf(keyed, 5_000).process(deposit, { idempotencyKey: "k" })).repeated, true);
  assert.deepEqual(keyed.asked.map(({ headers }) => headers["idempotency-key"]), ["k", "k"]);
  await using reading = await HttpStub.start((_, n) => n < 2 ? [502, { title: "proxy" }] : [200, row]);
  assert.deepEqual(await clientOf(reading, 5_000).row(Balance, "a"), row);
});

Deno.test("a server that is not there yet is waited for, also with a command without a key", async () => {
  const port = await HttpStub.start(() => HANG_UP).then(async (stub) => {
    await stub[Symbol.asyncDispose]();
    return Number(new URL(stub.url).port);
  });
  const url = `http://127.0.0.1:${port}`;
  await assert.rejects(clientOf({ url }).process(deposit), (error) => {
    return error instanceof HttpError && error.recovery === "wait" && error.status === null;
  });
  const processing = clientOf({ url }, 10_000).process(deposit);
  await new Promise((resolve) => setTimeout(resolve, 60));
  await using server = await HttpStub.start(() => [202, sent], port);
  assert.equal((await processing).commandId, "c1");
  assert.equal(server.asked.length, 1);
});

const html: Told = (response) => {
  response.writeHead(200, { "content-type": "text/html" });
  response.end("<h1>Welcome to the proxy</h1>");
};
const broken: Told = (response) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.end('{"rows": [');
};
const endless: Told = (response) => {
  response.writeHead(200, { "content-type": "application/json" });
  const more = () => void (response.write("x".repeat(64 << 10)) ? setImmediate(more) : response.once("drain", more));
  response.on("error", () => {});
  more();
};
const redirect: Told = (response) => {
  response.writeHead(302, { location: "http://127.0.0.1:1/?token=secret" });
  response.end();
};

Deno.test("whatever a server answers is an error that says so, and gives no secret away", async () => {
  /** What the error has to say, where another one would not do. */
  const reasons: Record<string, RegExp> = {
    html: /text\/html/,
    endless: /more than 1048576 bytes/,
    redirect: /redirects to/,
    silent: /did not answer within 0.3 s/,
  };
  const answers: Record<string, Told> = {
    html,
    broken,
    endless,
    redirect,
    nothing: (response) => response.end(),
    silent: () => {},
    hangUp: HANG_UP,
    null: [200, null],
    list: [200, []],
    text: [200, "rows"],
    otherRows: [200, { rows: [{ accountId: 5 }], cursor: null, count: -1, outcome: { status: "done" } }],
    noToken: [200, { ...sent, outcome: 5, token: "a b", rows: {}, cursor: 5 }],
    problem: [418, { title: "\x1b[31mred\u0007" + "x".repeat(10_000) }],
    away: [503, { title: "away", behind: { projection: 5 } }],
  };
  for (const [name, answer] of Object.entries(answers)) {
    await using server = await HttpStub.start(() => answer);
    const client = connect(bank, {
      url: server.url,
      token: TOKEN,
      patience: 0,
      // Only who says nothing is to be given up.
      answerTimeout: name === "silent" ? 300 : 30_000,
      longestAnswer: 1 << 20,
    });
    const acts = [
      () => client.process(deposit),
      () => client.row(Balance, "a"),
      () => client.query(Balance),
      () => client.count(Balance),
      () => client.outcome("c1"),
    ];
    await Promise.all(acts.map((act) =>
      assert.rejects(act, (error: Error) => {
        assert.ok(error instanceof HttpError, `${name}: ${error}`);
        assert.match(error.message, reasons[name] ?? /127\.0\.0\.1/);
        assert.doesNotMatch(error.message, /\p{Cc}|bearer-token|secret/u, name);
        return error.message.length < 3_000;
      }, `${name} ${act}`)
    ));
  }
});

Deno.test("an answer that cannot be read leaves open whether a command is stored; a refusal does not", async () => {
  const recoveryFor = async (answer: Told) => {
    await using server = await HttpStub.start(() => answer);
    const error = await clientOf(server, 5_000).process(deposit).then(() => null, (error) => error);
    assert.ok(error instanceof HttpError);
    assert.equal(server.asked.length, 1);
    return error.recovery;
  };
  for (const answer of [html, broken, [200, null], [500, { title: "inside" }]] as const) {
    assert.equal(await recoveryFor(answer), "unsure");
  }
  for (const answer of [redirect, [401, { title: "no" }], [403, { title: "no" }]] as const) {
    assert.equal(await recoveryFor(answer), "none");
  }
});

Deno.test("a command that is stored is said to be so, also when the server goes away after that", async () => {
  for (const options of [{ wait: true }, { until: [Balance] }]) {
    await using server = await HttpStub.start(({ method }, n) =>
      method === "POST" ? [202, { ...sent, outcome: "until" in options ? accepted : null }] : n < 3 ? [503, {}] : html
    );
    // Whoever took it for not stored would send it a second time.
    await assert.rejects(
      clientOf(server).process(deposit, { timeout: 1_000, ...options }),
      (error) => error instanceof OutcomeTimeoutError && error.commandId === "c1" && /is stored/.test(error.message),
    );
    assert.equal(server.asked.filter(({ method }) => method === "POST").length, 1);
  }
});

/** An answer that asks to be left alone for some time. */
const busy = (retryAfter: string): Told => (response) => {
  response.writeHead(503, { "content-type": "application/problem+json", "retry-after": retryAfter });
  response.end(JSON.stringify({ title: "busy" }));
};

Deno.test("a server that says when to come again is not asked before", async () => {
  const asked: number[] = [];
  await using server = await HttpStub.start((_, n) => {
    asked.push(performance.now());
    return n === 0 ? busy("1") : [200, row];
  });
  assert.deepEqual(await clientOf(server, 10_000).row(Balance, "a"), row);
  assert.ok(asked[1] - asked[0] >= 950, `${asked[1] - asked[0]} ms`);
  // For longer than it may take: that is told at once.
  for (const later of ["3600", new Date(Date.now() + 3_600_000).toUTCString()]) {
    await using closed = await HttpStub.start(() => busy(later));
    await assert.rejects(
      clientOf(closed, 10_000).row(Balance, "a"),
      (error) => error instanceof HttpError && error.retryAfter! > 3_500_000 && error.status === 503,
    );
    assert.equal(closed.asked.length, 1);
  }
  await using rubbish = await HttpStub.start((_, n) => n === 0 ? busy("soon") : [200, row]);
  assert.deepEqual(await clientOf(rubbish, 10_000).row(Balance, "a"), row);
});

Deno.test("https:// to a server without TLS is said to be that, at once", async () => {
  await using server = await HttpStub.start(() => [200, row]);
  const url = server.url.replace("http:", "https:");
  await assert.rejects(
    clientOf({ url }, 30_000).row(Balance, "a"),
    (error) => error instanceof HttpError && error.recovery === "none" && /use http:\/\//.test(error.message),
  );
});
