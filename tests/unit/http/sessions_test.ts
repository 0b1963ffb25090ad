import assert from "node:assert/strict";
import fc from "fast-check";
import { hashPassword, isPassword } from "../../../src/http/passwords.ts";
import { SESSION_LIFE, Sessions } from "../../../src/http/sessions.ts";

Deno.test("a session is known to whoever has the same secrets, until it is over, and only as it was given", () => {
  let now = 1_000;
  const sessions = new Sessions(["log", "secret"], () => now);
  const cookie = sessions.begin("älice");
  const session = sessions.read(cookie)!;
  assert.equal(session.who, "älice");
  assert.deepEqual(new Sessions(["log", "secret"], () => now).read(cookie), session);
  assert.equal(new Sessions(["log", "other"], () => now).read(cookie), null);
  assert.equal(new Sessions([], () => now).read(cookie), null);
  assert.notEqual(sessions.read(sessions.begin("älice"))!.csrf, session.csrf);
  fc.assert(fc.property(fc.nat(cookie.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, letter) => {
    const changed = cookie.slice(0, at) + letter + cookie.slice(at + 1);
    assert.deepEqual(sessions.read(changed), changed === cookie ? session : null);
  }));
  for (const wrong of [undefined, "", ".", "a.b", `${cookie}.x`, session.csrf]) {
    assert.equal(sessions.read(wrong), null);
  }
  now += SESSION_LIFE;
  assert.equal(sessions.read(cookie), null);
});

Deno.test("a password is known by its hash, however its letters are composed", async () => {
  const hash = await hashPassword("caf\u00e9");
  assert.match(hash, /^scrypt:32768:8:3:[\w-]{22}:[\w-]{43}$/);
  assert.notEqual(await hashPassword("caf\u00e9"), hash);
  assert.equal(await isPassword("cafe\u0301", hash), true);
  assert.equal(await isPassword("cafe", hash), false);
  assert.equal(await isPassword("", undefined), false);
  assert.equal(await isPassword("x", "scrypt:3:8:1:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAA"), false);
});
