import { MemoryEventStore } from "@annals/annals/store/memory";
import fc from "fast-check";
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { clockOf } from "../../../src/lib/clock.ts";
import { Balancer, LEASE_TTL, quotas } from "../../../src/cluster/balancer.ts";

const LEASES = ["A", "B", "C", "D", "E", "F"];

/** Some processes that share leases, and time that only the test moves. */
class Cluster {
  now = 1_000_000;
  readonly store = new MemoryEventStore({ clock: { now: () => this.now } });
  readonly processes = new Map<string, { held: Map<string, number>; stop: AbortController; balancer: Balancer }>();

  async join(owner: string, lacks: readonly string[] = []): Promise<void> {
    const held = new Map<string, number>();
    const stop = new AbortController();
    const clock = clockOf({
      now: () => this.now,
      elapsed: () => this.now,
      random: () => 0,
      sleep: () => Promise.resolve(),
    });
    const types: Record<string, number> = lacks.includes("New@1") ? {} : { New: 1 };
    const member = { owner, types };
    const balancer = new Balancer(this.store, member, () => this.store.members(), clock);
    for (const lease of LEASES) {
      balancer.add({
        lease,
        held: () => held.has(lease),
        lacks: new Set(lacks),
        yield: () => void this.#giveBack(owner, lease),
      });
    }
    this.processes.set(owner, { held, stop, balancer });
    await balancer.enroll();
    for (const lease of LEASES) void this.#want(owner, lease);
  }

  /** What a group's runner does: waits for its turn, and asks for the lease. */
  async #want(owner: string, lease: string): Promise<void> {
    const { held, stop, balancer } = this.processes.get(owner)!;
    if (!await balancer.turn(lease, stop.signal)) {
      if (!stop.signal.aborted) void this.#want(owner, lease);
      return;
    }
    const request = { name: lease, group: lease, partitions: 1, owner, ttl: LEASE_TTL };
    const granted = await this.store.acquireLease(request);
    if (granted) held.set(lease, granted.token);
    else void this.#want(owner, lease);
  }

  async #giveBack(owner: string, lease: string): Promise<void> {
    const { held } = this.processes.get(owner)!;
    const token = held.get(lease)!;
    held.delete(lease);
    await this.store.releaseLease({ lease, token }, true);
    void this.#want(owner, lease);
  }

  /** Ends one without a word. */
  kill(owner: string): void {
    this.processes.get(owner)!.stop.abort();
    this.processes.delete(owner);
  }

  /** Lets time pass; everybody looks around and renews what he has. */
  async pass(milliseconds: number): Promise<void> {
    for (const end = this.now + milliseconds; this.now < end; this.now += 400) {
      for (const { balancer, held } of this.processes.values()) {
        await balancer.enroll();
        await this.store.renewLeases([...held].map(([lease, token]) => ({ lease, token })), LEASE_TTL);
        await balancer.look();
        await setImmediate();
      }
    }
  }

  get shares(): Record<string, string[]> {
    return Object.fromEntries([...this.processes].map(([owner, { held }]) => [owner, [...held.keys()].sort()]));
  }
}

Deno.test("whoever comes and goes, every lease ends up with one process, and they are shared evenly", async () => {
  const step = fc.record({ who: fc.constantFrom("a", "b", "c", "d"), after: fc.integer({ min: 0, max: 6_000 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
      const cluster = new Cluster();
      for (const { who, after } of steps) {
        if (cluster.processes.has(who)) cluster.kill(who);
        else await cluster.join(who);
        await cluster.pass(after);
      }
      if (cluster.processes.size === 0) await cluster.join("a");
      // Leases of the dead run out, and what was kept for want of others is offered again.
      await cluster.pass(40_000);
      const shares = Object.values(cluster.shares);
      assert.deepEqual(shares.flat().sort(), LEASES);
      const sizes = shares.map((share) => share.length);
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, JSON.stringify(cluster.shares));
    }),
    { numRuns: 25 },
  );
});

Deno.test("a group whose types this code lacks is left to a process that knows them, and taken by nobody else's", async () => {
  const cluster = new Cluster();
  await cluster.join("old", ["New@1"]);
  await cluster.join("new");
  await cluster.pass(5_000);
  assert.deepEqual(cluster.shares, { old: [], new: LEASES });
  cluster.kill("new");
  await cluster.pass(10_000);
  assert.deepEqual(cluster.shares, { old: LEASES });
});

Deno.test("a partition that this code holds, and lacks a type for, goes to a process that comes and knows it", async () => {
  const cluster = new Cluster();
  await cluster.join("old", ["New@1"]);
  await cluster.pass(5_000);
  assert.deepEqual(cluster.shares, { old: LEASES });
  await cluster.join("new");
  await cluster.pass(10_000);
  assert.deepEqual(cluster.shares, { old: [], new: LEASES });
});

Deno.test("quotas differ by one at most and add up", () => {
  fc.assert(fc.property(fc.uniqueArray(fc.string(), { minLength: 1 }), fc.nat(500), (members, slots) => {
    const all = [...quotas(members, slots).values()];
    assert.equal(all.reduce((sum, quota) => sum + quota), slots);
    assert.ok(Math.max(...all) - Math.min(...all) <= 1);
  }));
});
