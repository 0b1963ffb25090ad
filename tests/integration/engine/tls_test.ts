import assert from "node:assert/strict";
import tally from "../../fixtures/tally/domain.ts";
import { makeCertificates } from "../../support/certificates.ts";
import { audit, drive, settled } from "../../support/load.ts";
import { pause } from "../../support/ground.ts";
import { Site } from "../../support/server.ts";
import { canStartServices, PostgresServer, programs, RedisServer } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);

Deno.test({
  name: "both services by TLS, with an authority of one's own; without it, it is said what to do",
  ignore: !canStartServices(),
  fn: async () => {
    await using files = await makeCertificates();
    const { user } = programs();
    if (user) await Deno.chown(files.key, user.uid, user.gid);
    await using postgres = await PostgresServer.start([
      "ssl=on",
      `ssl_cert_file=${files.certificate}`,
      `ssl_key_file=${files.key}`,
    ]);
    await using redis = await RedisServer.start((port) => [
      ...["--port", "0", "--tls-port", String(port), "--tls-auth-clients", "no"],
      ...["--tls-cert-file", files.certificate, "--tls-key-file", files.key, "--tls-ca-cert-file", files.authority],
    ]);
    const store = `${postgres.url.replace("127.0.0.1", "localhost")}?sslmode=verify-full`;
    const broker = `rediss://localhost:${redis.port}/0`;
    const toml = `[event_store]\nurl = "${store}"\n[brokers.default]\nurl = "${broker}"\n`;

    await using site = Site.make("tally", MODULE, toml, { DENO_CERT: files.authority });
    const server = await site.start().running();
    await using plain = Site.make("tally", MODULE, `[event_store]\nurl = "${postgres.url}"\n`);
    await using client = await plain.connect(tally);
    const load = drive(client);
    await pause(300);
    await load.stop();
    await settled(client);
    await audit(client, load.sent);
    assert.equal(await server.stop(), 0);

    for (const [url, service] of [[store, "PostgreSQL"], [broker, "Redis"]]) {
      const kind = service === "Redis" ? "brokers.default" : "event_store";
      await using other = Site.make("tally", MODULE, `[${kind}]\nurl = "${url}"\n`);
      const refused = other.start();
      assert.equal((await refused.status).code, 1);
      await refused.stop();
      assert.match(refused.stderr, new RegExp(`Cannot use ${service} at .*certificate.*DENO_CERT`));
    }
  },
});
