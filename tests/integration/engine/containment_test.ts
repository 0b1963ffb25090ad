import type { Client } from "@annals/annals/client";
import assert from "node:assert/strict";
import unruly, { Ask, Done, Witnessed } from "../../fixtures/unruly/domain.ts";
import { Site, until } from "../../support/server.ts";

const TOML = `
[server]
handler_timeout_seconds = 1
max_heap_mb = 200
[server.stream_subscription]
max_retries = 1
retry_delay_seconds = 0.05
`;

const KINDS = ["Thrower", "Waiter", "Looper", "LateLooper", "Exiter", "Rejecter", "Hoarder"];

/** Which words the dead letter of each has to have. */
const WORDS: Record<string, RegExp> = {
  Thrower: /thrown/,
  Waiter: /handler_timeout_seconds = 1/,
  Looper: /handler_timeout_seconds = 1/,
  LateLooper: /worker ended while it handled/,
  Exiter: /Deno\.exit\(\) is not for handlers/,
  Rejecter: /rejected without await/,
  Hoarder: /worker ended while it handled/,
};

/** CPU time of a process so far, in clock ticks. */
function ticks(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1].split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** Whether processes leave a core alone for a second. */
async function isCalm(pids: number[]): Promise<boolean> {
  const total = () => pids.reduce((sum, pid) => sum + ticks(pid), 0);
  const before = total();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  return total() - before < 70;
}

Deno.test("whatever a handler does, its message ends as a dead letter and nobody else is held back", async () => {
  await using site = Site.make("unruly", new URL("../../fixtures/unruly/domain.ts", import.meta.url), TOML);
  const server = await site.start().running();
  await using client = await site.connect(unruly);
  const sent: string[] = [];
  const ask = async (kind: string) => {
    sent.push(kind);
    await client.process(Ask({ id: `${kind}-${sent.length}`, kind }));
  };
  for (const kind of KINDS) {
    await ask("fine");
    await ask(kind);
    await ask("fine");
    await until(async () => (await client.store.countDeadLetters())[kind] === 1, () => {
      return `the dead letter of ${kind}; the server said:\n${server.stderr.slice(-3_000)}`;
    }, 60_000);
    await until(() => witnessed(client, sent.length), () => `the witness after ${kind}`);
  }
  // Every group has handled every message but the one that was made for it.
  for (const kind of KINDS) {
    await until(
      async () => (await client.row(Done, kind))?.count === sent.length - 1,
      () => `${kind} to handle the rest`,
    );
  }
  for (const letter of await client.store.deadLetters()) {
    assert.match(letter.error, WORDS[letter.group]);
    assert.equal(JSON.parse(letter.message.data).kind, letter.group);
    assert.ok(letter.attempts.length <= 2, `${letter.group} took ${letter.attempts.length} strikes`);
  }
  assert.equal((await client.store.deadLetters()).length, KINDS.length);
  await until(() => isCalm([server.enginePid(), ...server.hostPids()]), () => "no core to be left burning");
  assert.equal(await server.stop(), 0);
});

async function witnessed(client: Client, count: number): Promise<boolean> {
  const rows = await client.rows(Witnessed);
  return rows.reduce((sum, row) => sum + row.kinds.length, 0) === count;
}

Deno.test("what a handler forgot is said when it fails, and never counted against another message", async () => {
  await using site = Site.make("unruly", new URL("../../fixtures/unruly/domain.ts", import.meta.url), TOML);
  const server = await site.start().running();
  await using client = await site.connect(unruly);
  await client.process(Ask({ id: "1", kind: "Forgetter" }), { wait: true });
  let sent = 1;
  await until(async () => {
    await client.process(Ask({ id: String(++sent), kind: "fine" }), { wait: true });
    return /Forgetter: A promise from message \d+ rejected after it completed \(missing await\?\); no effect: rejected long after/
      .test(server.stderr);
  }, () => `it to be said; the server said:\n${server.stderr}`);
  await until(async () => (await client.row(Done, "Forgetter"))?.count === sent, () => "all to be handled");
  assert.doesNotMatch(server.stderr, /attempt/);
  assert.equal(await server.stop(), 0);
});
