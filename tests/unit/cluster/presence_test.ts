import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { clockOf } from "../../../src/lib/clock.ts";
import { Presence } from "../../../src/cluster/presence.ts";
import { hasEnded, isOfThisMachine, ownerName } from "../../../src/cluster/process_id.ts";
import type { EventStore } from "../../../src/store/port.ts";

/** A store in which processes have sessions, and time that only sleeping moves. */
function ground() {
  let now = 1_000_000;
  const sessions = new Set<string>();
  const memory = new MemoryEventStore({ clock: { now: () => now } });
  const store: EventStore = Object.assign(memory, {
    present: (owners: readonly string[]) => Promise.resolve(owners.filter((owner) => sessions.has(owner))),
  });
  let asleep = (): void => {};
  const clock = clockOf({
    now: () => now,
    elapsed: () => now,
    random: () => 0,
    sleep: (milliseconds: number) => {
      now += milliseconds;
      asleep();
      return Promise.resolve();
    },
  });
  return { store, sessions, clock, onSleep: (what: () => void) => asleep = what };
}

async function join(store: EventStore, owner: string): Promise<void> {
  await store.enroll({ owner, types: {} }, 3_600_000);
  await store.acquireLease({ name: `${owner}'s`, group: `${owner}'s`, partitions: 1, owner, ttl: 3_600_000 });
}

const living = async (presence: Presence): Promise<string[]> => (await presence.bury()).map(({ owner }) => owner);

async function free(store: EventStore, owner: string): Promise<boolean> {
  return (await store.leases()).find(({ name }) => name === `${owner}'s`)!.expiresAt === 0;
}

Deno.test("a process whose session is gone is struck off, and its leases are free, long before they run out", async () => {
  const { store, sessions, clock } = ground();
  for (const owner of ["a", "b"]) {
    sessions.add(owner);
    await join(store, owner);
  }
  const presence = new Presence(store, "a", clock, () => false);
  assert.deepEqual(await living(presence), ["a", "b"]);
  await clock.sleep(2_000);
  sessions.delete("b");
  assert.deepEqual(await living(presence), ["a"]);
  assert.ok(await free(store, "b"));
  assert.ok(!await free(store, "a"));
  assert.deepEqual((await store.members()).map(({ owner }) => owner), ["a"]);
});

Deno.test("a session that comes back at once, was never seen, or is missing as everybody's is, says nothing", async () => {
  const { store, sessions, clock, onSleep } = ground();
  for (const owner of ["a", "b", "pooled"]) await join(store, owner);
  for (const owner of ["a", "b"]) sessions.add(owner);
  const presence = new Presence(store, "a", clock, () => false);
  await presence.bury();
  await clock.sleep(2_000);
  assert.deepEqual(await living(presence), ["a", "b", "pooled"]);
  // It opens its session again while it is waited for.
  sessions.delete("b");
  onSleep(() => sessions.add("b"));
  assert.deepEqual(await living(presence), ["a", "b", "pooled"]);
  onSleep(() => {});
  // PostgreSQL was restarted: this process was faster to connect again.
  sessions.clear();
  assert.deepEqual(await living(presence), ["a", "b", "pooled"]);
  sessions.add("a");
  assert.deepEqual(await living(presence), ["a", "b", "pooled"]);
  await clock.sleep(1_500);
  assert.deepEqual(await living(presence), ["a", "b", "pooled"]);
  // It had the time.
  await clock.sleep(1_000);
  assert.deepEqual(await living(presence), ["a", "pooled"]);
});

Deno.test("a process of this machine that has ended is struck off at the first look, one of another is not", async () => {
  const { store, clock } = ground();
  const child = new Deno.Command("true").spawn();
  await child.status;
  const [machine, , id] = ownerName().split(":");
  const mine = ownerName();
  // Its number was given to a process that lives: this one.
  const reused = `${machine}:${Deno.pid}.1:${id}`;
  const ended = `${machine}:${child.pid}.1:${id}`;
  const elsewhere = `another/boot/1:${child.pid}.1:${id}`;
  for (const owner of [mine, reused, ended, elsewhere]) await join(store, owner);
  assert.deepEqual((await living(new Presence(store, mine, clock))).sort(), [mine, elsewhere].sort());
  assert.ok(await free(store, ended) && await free(store, reused) && !await free(store, elsewhere));
});

Deno.test("process numbers of another namespace are another machine's", () => {
  const mine = ownerName();
  assert.ok(isOfThisMachine(mine) && !hasEnded(mine));
  const [machine, pid, id] = mine.split(":");
  const [host, boot, namespace] = machine.split("/");
  if (Deno.build.os === "linux") assert.match(namespace, /^\d+$/);
  // The first process of another container of the same name: its number may be nobody's here.
  const other = `${host}/${boot}/${Number(namespace) + 1}:${2 ** 22 - 1}.${pid.split(".")[1]}:${id}`;
  assert.ok(!isOfThisMachine(other) && !hasEnded(other));
});
