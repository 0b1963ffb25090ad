import assert from "node:assert/strict";
import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { isSigned, sign } from "../../../src/exchange/signature.ts";

const SECRETS = ["a secret of twenty-four bytes or more", "quite another secret of enough bytes"].map((text) =>
  `whsec_${btoa(text)}`
);

Deno.test("requests are signed as the library of Standard Webhooks signs them, and what it signs is taken", () => {
  const text = fc.string({ minLength: 1, maxLength: 20 }).filter((id) => /^[\x21-\x7e]+$/.test(id));
  fc.assert(fc.property(text, fc.json(), fc.constantFrom(...SECRETS), (id, body, secret) => {
    const now = Date.now();
    const timestamp = Math.floor(now / 1000);
    const ours = sign(secret, { id, timestamp, body });
    assert.equal(ours, new Webhook(secret).sign(id, new Date(timestamp * 1000), body));
    const headers = {
      "webhook-id": id,
      "webhook-timestamp": String(timestamp),
      "webhook-signature": `v1,other ${ours}`,
    };
    assert.deepEqual(new Webhook(secret).verify(body, headers), JSON.parse(body));
    const check = (over: Record<string, string> = {}, text = body, secrets = SECRETS, at = now) =>
      isSigned(secrets, new Headers({ ...headers, ...over }), text, at);
    assert.ok(check());
    assert.ok(check({}, body, [secret]));
    assert.ok(!check({}, `${body} `));
    assert.ok(!check({ "webhook-id": `${id}x` }));
    assert.ok(!check({ "webhook-timestamp": String(timestamp + 1) }));
    assert.ok(!check({ "webhook-signature": "" }));
    assert.ok(!check({}, body, SECRETS.filter((other) => other !== secret)));
    for (const away of [-301_000, 301_000]) assert.ok(!check({}, body, SECRETS, now + away));
  }));
});
