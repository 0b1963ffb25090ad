import assert from "node:assert/strict";
import bank, { Balance } from "../../../examples/bank/bank.ts";
import { hashPassword } from "../../../src/http/passwords.ts";
import { rawExchange, type RawRequest, rawRequest } from "../../support/raw_http.ts";
import { Site } from "../../support/server.ts";
import { freePort } from "../../support/services.ts";

const MODULE = new URL("../../../examples/bank/bank.ts", import.meta.url);
const TOKEN = "a-token-of-enough-characters";
const JSON_TYPE = { "content-type": "application/json" };
const BEARER = { authorization: `Bearer ${TOKEN}` };
const LONGEST = 4_096;

/** A command that would be stored if it got through. */
const DEPOSIT: RawRequest = {
  method: "POST",
  path: "/commands/Deposit",
  headers: JSON_TYPE,
  body: JSON.stringify({ accountId: "a", amount: 1 }),
};

const siteOf = (port: number, more: string) =>
  Site.make(
    "bank",
    MODULE,
    `[server.http]\nlisten = "127.0.0.1:${port}"\n${more}\n[event_store]\nmax_message_bytes = ${LONGEST}\n`,
  );

/** A request with other headers. */
function having(request: RawRequest, headers: Record<string, string>): RawRequest {
  return { ...request, headers: { ...request.headers, ...headers } };
}

Deno.test("with a token: requests that are unauthenticated, of other sites, rebound, oversized or malformed do nothing", async () => {
  const port = freePort();
  await using site = siteOf(
    port,
    `api = true\ntoken = "${TOKEN}"\nusers.alice = "${await hashPassword("correct horse")}"`,
  );
  const server = await site.start().running();
  const signed = having(DEPOSIT, BEARER);
  const session = await rawRequest(port, {
    method: "POST",
    path: "/session",
    headers: JSON_TYPE,
    body: JSON.stringify({ user: "alice", password: "correct horse" }),
  });
  assert.equal(session.status, 200);
  const cookie = session.headers.get("set-cookie")!;
  assert.match(cookie, /; HttpOnly; SameSite=Strict$/);
  const [pair] = cookie.split(";");
  const { csrf } = JSON.parse(session.body);
  const forged = `annals_session=${btoa(JSON.stringify(["alice", 9e15, "x"])).replaceAll("=", "")}.${"A".repeat(43)}`;
  const refused: Record<string, [RawRequest, number]> = {
    "a command without anything": [DEPOSIT, 401],
    "a command with a wrong token": [having(DEPOSIT, { authorization: "Bearer wrong" }), 401],
    "a command with an empty token": [having(DEPOSIT, { authorization: "Bearer " }), 401],
    "a command with a part of the token": [having(DEPOSIT, { authorization: `Bearer ${TOKEN.slice(0, -1)}` }), 401],
    "the token as a password": [having(DEPOSIT, { authorization: `Basic ${btoa(`:${TOKEN}`)}` }), 401],
    "the token as a cookie": [having(DEPOSIT, { cookie: `annals_session=${TOKEN}` }), 401],
    "the token in the address": [{ ...DEPOSIT, path: `/commands/Deposit?token=${TOKEN}` }, 401],
    "a forged cookie": [having(DEPOSIT, { cookie: forged }), 401],
    "a changed cookie": [having(DEPOSIT, { cookie: pair.replace("=", "=x"), "x-csrf-token": csrf }), 401],
    "a cookie with its signature cut": [having(DEPOSIT, { cookie: pair.slice(0, -2), "x-csrf-token": csrf }), 401],
    "a session without its csrf": [having(DEPOSIT, { cookie: pair }), 403],
    "a session with a wrong csrf": [having(DEPOSIT, { cookie: pair, "x-csrf-token": "x" }), 403],
    "the csrf without its session": [having(DEPOSIT, { "x-csrf-token": csrf }), 401],
    "a wrong token beside a session": [
      having(DEPOSIT, { cookie: pair, "x-csrf-token": csrf, authorization: "Bearer wrong" }),
      401,
    ],
    "another origin": [having(signed, { origin: "https://evil.example" }), 403],
    "another port as origin": [having(signed, { origin: "http://127.0.0.1:1" }), 403],
    "an opaque origin": [having(signed, { origin: "null" }), 403],
    "an origin that only begins well": [having(signed, { origin: `http://127.0.0.1:${port}.evil.example` }), 403],
    "another site, as browsers say": [having(signed, { "sec-fetch-site": "cross-site" }), 403],
    "the same site, as browsers say": [having(signed, { "sec-fetch-site": "same-site" }), 403],
    "a form of another site": [
      having(signed, { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" }),
      403,
    ],
    "a name that was pointed here": [having(signed, { host: "evil.example" }), 421],
    "the same with the port": [having(signed, { host: `evil.example:${port}` }), 421],
    "a name that contains a known one": [having(signed, { host: "localhost.evil.example" }), 421],
    "a user in the host": [having(signed, { host: "localhost@evil.example" }), 421],
    "an empty host": [having(signed, { host: "" }), 421],
    "events without a token": [{ path: "/events?after=start" }, 401],
    "rows without a token": [{ path: "/projections/Balance" }, 401],
    "one row without a token": [{ path: "/projections/Balance/a" }, 401],
    "outcomes without a token": [{ path: "/outcomes/x" }, 401],
    "the description without a token": [{ path: "/openapi.json" }, 401],
    "what there is not, without a token": [{ path: "/operator/overview" }, 401],
    "metrics without a token": [{ path: "/metrics" }, 401],
    "a way around": [{ path: "/livez/../openapi.json" }, 401],
    "a way around in capitals": [{ path: "/OPENAPI.JSON" }, 401],
    "a way around by escapes": [{ path: "/%6fpenapi.json" }, 401],
    "two slashes": [{ path: "//openapi.json" }, 401],
    "another method": [{ ...DEPOSIT, method: "PUT" }, 401],
    "a method that overrides": [having({ ...DEPOSIT, method: "POST" }, { "x-http-method-override": "GET" }), 401],
    "a payload that says it is too long": [having(signed, { "content-length": String(LONGEST + 1) }), 413],
    "a payload that is too long": [{
      ...signed,
      body: JSON.stringify({ accountId: "a".repeat(LONGEST), amount: 1 }),
    }, 413],
    "a form": [having(signed, { "content-type": "application/x-www-form-urlencoded" }), 415],
    "plain text": [having(signed, { "content-type": "text/plain" }), 415],
    "bytes that are no text": [{ ...signed, body: '{"accountId":"a\\ud800","amount":1}' }, 422],
    "a compressed body": [having(signed, { "content-encoding": "gzip" }), 415],
    "a name that no store can keep": [{ path: "/projections/Balance/%00", headers: BEARER }, 400],
    "no JSON": [{ ...signed, body: "{" }, 400],
    "JSON that is too deep": [{ ...signed, body: `${"[".repeat(2_000)}${"]".repeat(2_000)}` }, 422],
    "a key that is too long": [having(signed, { "idempotency-key": "k".repeat(501) }), 400],
    "a wrong password": [{
      method: "POST",
      path: "/session",
      headers: JSON_TYPE,
      body: JSON.stringify({ user: "alice", password: "wrong" }),
    }, 401],
    "a user that there is not": [{
      method: "POST",
      path: "/session",
      headers: JSON_TYPE,
      body: JSON.stringify({ user: "constructor", password: "correct horse" }),
    }, 401],
    "a hash as a password": [{
      method: "POST",
      path: "/session",
      headers: JSON_TYPE,
      body: JSON.stringify({ user: "alice", password: site.config.http.users.get("alice") }),
    }, 401],
    "a login of another site": [{
      method: "POST",
      path: "/session",
      headers: { ...JSON_TYPE, origin: "https://evil.example" },
      body: JSON.stringify({ user: "alice", password: "correct horse" }),
    }, 403],
    "a login that is too long": [{
      method: "POST",
      path: "/session",
      headers: JSON_TYPE,
      body: JSON.stringify({ user: "alice", password: "x".repeat(10_000) }),
    }, 413],
  };
  assert.ok(Object.keys(refused).length >= 40);
  for (const [what, [request, expected]] of Object.entries(refused)) {
    const { status, headers, body } = await rawRequest(port, request);
    assert.equal(status, expected, `${what}: ${body}`);
    assert.equal(headers.get("access-control-allow-origin"), null, what);
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/, what);
    assert.doesNotMatch(body, new RegExp(`${TOKEN}|scrypt:`), what);
  }
  for (
    const text of [
      "GET / HTTP/1.1\r\n\r\n",
      "nonsense\r\n\r\n",
      "POST /commands/Deposit HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    ]
  ) {
    const { status } = await rawExchange(port, text.replace("\r\n", "\r\nconnection: close\r\n"));
    assert.ok(status === 0 || status >= 400, `${JSON.stringify(text)} was answered with ${status}`);
  }
  // Whoever tries too often waits, also with the right password; others, who may come through the same proxy, do not.
  for (let i = 0; i < 10; i++) await rawRequest(port, refused["a wrong password"][0]);
  const login = (given: Record<string, string>) =>
    rawRequest(port, { ...refused["a wrong password"][0], body: JSON.stringify(given) });
  assert.equal((await login({ user: "alice", password: "correct horse" })).status, 429);
  assert.equal((await login({ token: TOKEN })).status, 200);
  await using client = await site.connect(bank);
  assert.equal(await client.store.lastPosition(), 0);

  // What is right gets through.
  const waiting = (request: RawRequest) => rawRequest(port, having(request, { prefer: "wait=10" }));
  assert.equal((await waiting(signed)).status, 200);
  const logged = having(DEPOSIT, { cookie: pair, "x-csrf-token": csrf, origin: `http://127.0.0.1:${port}` });
  assert.equal((await waiting(logged)).status, 200);
  assert.equal((await waiting(having(signed, { host: `localhost:${port}` }))).status, 200);
  assert.equal((await rawRequest(port, { path: "/readyz", headers: { host: "10.0.0.1" } })).body, "ready");
  assert.equal(await client.caughtUp(), true);
  assert.deepEqual(await client.row(Balance, "a"), { accountId: "a", balance: 3 });
  assert.equal(await server.stop(), 0);
});

Deno.test("on loopback, without a token: nothing of another site can change anything", async () => {
  const port = freePort();
  await using site = siteOf(port, "");
  const server = await site.start().running();
  const change: RawRequest = { method: "POST", path: "/operator/dead-letters/replay", headers: JSON_TYPE, body: "{}" };
  const begun = await rawRequest(port, { path: "/session" });
  const [cookie] = begun.headers.get("set-cookie")!.split(";");
  const { csrf, who } = JSON.parse(begun.body);
  assert.equal(who, "local");
  const own = { cookie, "x-csrf-token": csrf };
  const refused: Record<string, [RawRequest, number]> = {
    "without a session": [change, 401],
    "without a csrf": [having(change, { cookie }), 403],
    "with the csrf of another session": [
      having(change, { cookie, "x-csrf-token": JSON.parse((await rawRequest(port, { path: "/session" })).body).csrf }),
      403,
    ],
    "by a name that was pointed here": [having(change, { ...own, host: "evil.example" }), 421],
    "from another origin": [having(change, { ...own, origin: "https://evil.example" }), 403],
    "with a token where there is none": [having(change, { authorization: "Bearer x" }), 401],
    "a session for another site": [{ path: "/session", headers: { origin: "https://evil.example" } }, 403],
  };
  for (const [what, [request, expected]] of Object.entries(refused)) {
    const { status, body, headers } = await rawRequest(port, request);
    assert.equal(status, expected, `${what}: ${body}`);
    assert.equal(headers.get("set-cookie"), null, what);
  }
  const command = await rawRequest(port, { method: "POST", path: "/commands/Deposit", body: "{}" });
  assert.match(`${command.status} ${command.body}`, /^404 .*set \[server.http\] api = true/);
  assert.equal(await server.stop(), 0);
});

Deno.test("an address that others reach without a token serves probes only, and streams that nobody reads hold no place", async () => {
  const port = freePort();
  await using site = Site.make("bank", MODULE, `[server.http]\nlisten = "0.0.0.0:${port}"\ndashboard = false\n`);
  const server = await site.start().running();
  assert.equal((await rawRequest(port, { path: "/livez" })).status, 200);
  for (const path of ["/metrics", "/operator/overview", "/"]) {
    assert.equal((await rawRequest(port, { path })).status, 401, path);
  }
  assert.equal((await rawRequest(port, { path: "/session" })).headers.get("set-cookie"), null);
  assert.equal(await server.stop(), 0);
  await using open = siteOf(port, `api = true\ntoken = "${TOKEN}"`);
  const other = await open.start().running();
  const heads = Array.from(
    { length: 1_010 },
    () => fetch(`http://127.0.0.1:${port}/events`, { method: "HEAD", headers: BEARER }),
  );
  for (const { status } of await Promise.all(heads)) assert.equal(status, 200);
  const stream = await fetch(`http://127.0.0.1:${port}/events`, { headers: BEARER });
  assert.equal(stream.status, 200);
  await stream.body!.cancel();
  assert.equal(await other.stop(), 0);
});
