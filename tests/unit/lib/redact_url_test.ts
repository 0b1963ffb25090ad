import assert from "node:assert/strict";
import fc from "fast-check";
import { redactUrl, withoutSecrets } from "../../../src/lib/redact_url.ts";

Deno.test("URLs are shown without what may be secret", () => {
  const shown: Record<string, string> = {
    "postgres://bank:hunter2@db:5432/bank": "postgres://bank:***@db:5432/bank",
    "postgres://bank@db/bank?sslmode=require": "postgres://bank@db/bank?sslmode=require",
    "postgres://bank:a/b@c:d@db/bank": "postgres://bank:***@db/bank",
    "postgres://bank:hun\nter2@db/bank": "postgres://bank:***@db/bank",
    "redis://TOKEN@cache:6379": "redis://***@cache:6379",
    "rediss://:hunter2@cache/1?pass=x&db=2": "rediss://:***@cache/1?pass=***&db=2",
    "https://ghp_abc@example.com/shop.ts": "https://***@example.com/shop.ts",
    "https://example.com/shop.ts?access_token=abc&v=1": "https://example.com/shop.ts?access_token=***&v=1",
    "postgres://db/bank?sslpassword=p%20q&PASSWORD=x#f": "postgres://db/bank?sslpassword=***&PASSWORD=***#f",
    "sqlite:.annals/bank.db": "sqlite:.annals/bank.db",
    "://u:hunter2@db": "://u:***@db",
  };
  for (const [url, expected] of Object.entries(shown)) assert.equal(redactUrl(url), expected);
  assert.equal(withoutSecrets("redis://u:p@h/1?a=b\nc"), "redis://u:***@h/1");
});

Deno.test("no password gets through, however it is written", () => {
  const part = fc.string({ minLength: 1, unit: "grapheme" }).filter((text) => !/[:@]/.test(text));
  fc.assert(fc.property(part, fc.string({ minLength: 8 }), (user, secret) => {
    const password = `${secret}-hunter2`;
    for (const scheme of ["postgres", "redis", "https"]) {
      assert.ok(!redactUrl(`${scheme}://${user}:${password}@host:1/x`).includes("hunter2"));
    }
  }));
});
