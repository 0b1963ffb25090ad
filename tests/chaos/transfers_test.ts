import assert from "node:assert/strict";
import type { Client } from "@annals/annals/client";
import { CloseAccount, OpenAccount } from "../../examples/fidelis/account.ts";
import { settleBooks } from "../../examples/fidelis/books.ts";
import fidelis from "../../examples/fidelis/domain.ts";
import { seededRandom } from "../../examples/fidelis/simulate.ts";
import { InitiateTransfer, Transfer } from "../../examples/fidelis/transfer.ts";
import { pause } from "../support/ground.ts";
import { connectRedis } from "../support/redis.ts";
import { type Server, Site, until } from "../support/server.ts";
import { canStartServices, PostgresServer, RedisServer } from "../support/services.ts";

const MODULE = new URL("../../examples/fidelis/domain.ts", import.meta.url);
const ACCOUNTS = 6;
const KILLS = 3;
const OPENING = 50_000;

/** Sends transfers among few accounts, one of them closed, until stopped; returns how many. */
async function transfers(client: Client, accounts: readonly string[], random: () => number, stop: AbortSignal) {
  const one = (from: readonly string[]) => from[Math.floor(random() * from.length)];
  let sent = 0;
  const lane = async (): Promise<void> => {
    while (!stop.aborted) {
      const sourceAccountId = one(accounts.slice(1));
      const destinationAccountId = one(accounts.filter((id) => id !== sourceAccountId));
      const amount = 1 + Math.floor(random() * OPENING);
      await client.process(InitiateTransfer({ sourceAccountId, destinationAccountId, amount }));
      sent++;
      await pause(20);
    }
  };
  await Promise.all([1, 2, 3].map(lane));
  return sent;
}

/** Kills the servers, one after the other, while money moves; in the end all of it is there, and every transfer has ended. */
async function survive(site: Site, servers: Server[], between: (kill: number) => Promise<void>): Promise<void> {
  const seed = Number(Deno.env.get("ANNALS_TEST_SEED") ?? Math.floor(Math.random() * 1e9));
  console.log(`transfers: ANNALS_TEST_SEED=${seed}`);
  const random = seededRandom(seed);
  await using client = await site.connect(fidelis);
  const open = (n: number) =>
    client.process(
      OpenAccount({ accountNumber: `A-${n}`, holderName: "Ann", openingDeposit: n === 0 ? 0 : OPENING }),
      { wait: true },
    );
  const accounts = (await Promise.all(Array.from({ length: ACCOUNTS }, (_, n) => open(n)))).map((one) =>
    one.aggregateId
  );
  await client.process(CloseAccount({ accountId: accounts[0] }), { wait: true });
  const stop = new AbortController();
  const sending = transfers(client, accounts, random, stop.signal);
  sending.catch(() => {});
  for (let kill = 0; kill < KILLS; kill++) {
    await pause(300 + random() * 700);
    const at = kill % servers.length;
    await servers[at].kill();
    await between(kill);
    servers[at] = site.start();
  }
  await pause(500);
  stop.abort();
  const sent = await sending;
  // Nothing is pending of a command that nobody has looked at yet.
  const begun = () =>
    client.store.readLog({ category: fidelis.categoryOf(Transfer), type: "TransferInitiated", limit: 1e6 });
  await until(async () => (await begun()).length === sent, () => "all transfers to begin", 60_000);
  const books = await settleBooks(client, 60_000);
  assert.deepEqual(books.problems, []);
  assert.equal(books.total, (ACCOUNTS - 1) * OPENING);
  assert.equal((await begun()).length, sent);
  await Promise.all(servers.map((server) => server.running()));
  for (const server of servers) assert.equal(await server.stop(), 0);
}

Deno.test("transfers survive three kills of the only server", async () => {
  await using site = Site.make("fidelis", MODULE);
  const server = await site.start().running();
  await survive(site, [server], () => Promise.resolve());
});

Deno.test({
  name: "transfers survive three kills of one of two servers, and Redis flushed, on PostgreSQL",
  ignore: !canStartServices(),
  fn: async () => {
    await using redis = await RedisServer.start();
    await using postgres = await PostgresServer.start();
    const toml = `[event_store]\nurl = "${postgres.url}"\n[brokers.default]\nurl = "${redis.url}"\n`;
    await using site = Site.make("fidelis", MODULE, toml);
    const servers = [await site.start().running(), await site.start().running()];
    await survive(site, servers, async (kill) => {
      if (kill !== 1) return;
      const admin = connectRedis(redis.url);
      await admin.flushall();
      await admin.quit();
    });
  },
});
