import { type AddressInfo, connect, createServer, Socket } from "node:net";
import assert from "node:assert/strict";
import { PostgresEventStore } from "../../../src/store/postgres/store.ts";
import { sampleAppend } from "../../../src/testing/store_suite.ts";
import { withSchema } from "../../support/postgres.ts";
import { databaseUrl } from "../../support/services.ts";

/** Calls back between the error of a connection's socket and its close. */
function betweenErrorAndClose(call: () => void): Disposable {
  const emit = Socket.prototype.emit as (this: Socket, name: string, error: Error) => boolean;
  let done = false;
  Socket.prototype.emit = function (this: Socket & { host?: string }, name: string, error: Error) {
    const heard = emit.call(this, name, error);
    if (name === "error" && this.host !== undefined && !done) {
      done = true;
      queueMicrotask(call);
    }
    return heard;
  } as typeof Socket.prototype.emit;
  return { [Symbol.dispose]: () => void (Socket.prototype.emit = emit as typeof Socket.prototype.emit) };
}

/** Stands between, and resets connections. */
async function resetting(target: number) {
  const near = new Set<Socket>();
  const server = createServer((socket) => {
    const far = connect(target, "127.0.0.1");
    near.add(socket);
    for (const one of [socket, far]) one.on("error", () => {});
    socket.on("close", () => far.destroy());
    far.on("close", () => socket.destroy());
    socket.pipe(far).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    reset: () => {
      for (const socket of near) socket.resetAndDestroy();
      near.clear();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of near) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

Deno.test("what is asked while a connection breaks is never answered with nothing", async () => {
  await using schema = await withSchema();
  const url = new URL(databaseUrl());
  await using way = await resetting(Number(url.port));
  url.port = String(way.port);
  const store = new PostgresEventStore({
    url: url.href,
    schema: schema.name,
    listen: false,
    connections: 1,
    timeout: 3_000,
  });
  try {
    await store.migrate();
    await store.commit({
      appends: [sampleAppend("a", 20)],
      checkpoint: { group: "g", category: "test", partitions: 1, partition: 0, position: 7 },
    });
    const read = async (i: number) => (await store.readLog({ after: i, upTo: i + 1, limit: 1 })).length;
    await read(0);
    let answers: Promise<(number | string)[]> | undefined;
    using _ = betweenErrorAndClose(() => {
      answers = Promise.all(Array.from({ length: 20 }, (_, i) => read(i).catch((error) => String(error.reason))));
    });
    way.reset();
    while (answers === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    // All of them are in the log.
    assert.deepEqual((await answers).filter((answer) => answer !== 1 && answer !== "unreachable"), []);
  } finally {
    await store.close();
  }
});
