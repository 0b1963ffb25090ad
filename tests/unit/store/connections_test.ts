import assert from "node:assert/strict";
import { Connections, type Driver } from "../../../src/store/postgres/connections.ts";

/** Pools that were opened; the work of these tests needs no more of a driver than that it can be ended. */
class Pools {
  readonly ended: boolean[] = [];

  readonly connect = (): Driver => {
    const n = this.ended.push(false) - 1;
    return { n, end: () => Promise.resolve(void (this.ended[n] = true)) } as unknown as Driver;
  };

  connections(timeout = 60_000): Connections {
    return new Connections({ connect: this.connect, most: 2, timeout, location: "postgres://test" });
  }
}

const numberOf = (driver: Driver) => (driver as unknown as { n: number }).n;
const fails = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }));
const READING = { writing: false };

Deno.test("when a connection breaks, all are replaced once, and what is under way on them goes on", async () => {
  const pools = new Pools();
  const connections = pools.connections();
  const { promise, resolve } = Promise.withResolvers<string>();
  const slow = connections.use(() => promise, READING);
  const broken = [1, 2, 3].map(() => connections.use(fails("CONNECTION_CLOSED"), READING));
  for (const use of broken) await assert.rejects(use, { name: "StoreUnavailableError", reason: "unreachable" });
  assert.deepEqual(pools.ended, [false, false]);
  assert.equal(await connections.use((driver) => Promise.resolve(numberOf(driver)), READING), 1);
  resolve("done");
  assert.equal(await slow, "done");
  assert.deepEqual(pools.ended, [true, false]);
  await connections.close();
  assert.deepEqual(pools.ended, [true, true]);
});

Deno.test("connections are kept when a statement fails, or nobody listens at the other end", async () => {
  const pools = new Pools();
  const connections = pools.connections();
  for (const code of ["23505", "ECONNREFUSED", "57014"]) {
    await assert.rejects(connections.use(fails(code), { writing: true }));
  }
  assert.deepEqual(pools.ended, [false]);
  await connections.close();
});

Deno.test("connections that do not answer are ended with everything that waits for them", async () => {
  const pools = new Pools();
  const connections = pools.connections(20);
  const never = Promise.withResolvers<never>();
  const use = connections.use((driver) => {
    const wait = setInterval(() => {
      if (!pools.ended[numberOf(driver)]) return;
      clearInterval(wait);
      never.reject(Object.assign(new Error("ended"), { code: "CONNECTION_DESTROYED" }));
    }, 1);
    return never.promise;
  }, { writing: true });
  await assert.rejects(use, { name: "StoreUnavailableError", reason: "unsure" });
  assert.deepEqual(pools.ended, [true, false]);
  await connections.close();
});

Deno.test("work that has not begun is given up after the usual time, whatever its patience", async () => {
  const pools = new Pools();
  const connections = pools.connections(20);
  const work = async (driver: Driver, begun?: () => void) => {
    begun?.();
    const until = performance.now() + 200;
    while (performance.now() < until && !pools.ended[numberOf(driver)]) {
      await new Promise((done) => setTimeout(done, 1));
    }
    if (pools.ended[numberOf(driver)]) throw Object.assign(new Error("ended"), { code: "CONNECTION_DESTROYED" });
    return "done";
  };
  for (const patience of [1, 1_000, Infinity]) {
    await assert.rejects(connections.use((driver) => work(driver), { writing: false, patience }), {
      reason: "unreachable",
    });
  }
  for (const patience of [1_000, Infinity]) {
    assert.equal(await connections.use((driver, begun) => work(driver, begun), { writing: false, patience }), "done");
  }
  await connections.close();
});

Deno.test("in turns: nobody waits for a connection longer than for an answer", async () => {
  const pools = new Pools();
  const connections = pools.connections(20);
  connections.takeTurns();
  const { promise, resolve } = Promise.withResolvers<void>();
  let running = 0;
  const work = (_driver: Driver, begun: () => void) => {
    begun();
    running++;
    return promise;
  };
  const patient = { writing: false, patience: Infinity };
  const first = [connections.use(work, patient), connections.use(work, patient)];
  await assert.rejects(connections.use(work, READING), { name: "StoreUnavailableError", reason: "unreachable" });
  assert.equal(running, 2);
  resolve();
  await Promise.all(first);
  await connections.use(work, READING);
  assert.equal(running, 3);
  await connections.close();
});
