import assert from "node:assert/strict";
import { ConfigError, loadConfig } from "@annals/annals/config";

Deno.test("a user who cannot be known is refused, not left out", () => {
  const text = '[server.http.users]\n__proto__ = "scrypt:32768:8:3:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAA"\n';
  assert.throws(() => loadConfig({ text, env: () => undefined }), (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /__proto__: nothing can have this name/);
    return true;
  });
});
