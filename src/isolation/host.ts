/**
 * The entry point of a host, a process that only runs domain code. The main thread starts and ends workers and never
 * loads the domain; workers talk to the engine directly.
 *
 * @module
 */
import { storable } from "../messages/text.ts";
import { textOf } from "../messages/thrown.ts";
import { connect } from "./connect.ts";
import { decodeFrame, encodeFrame, FrameSocket } from "./frames.ts";
import type { FromHost, HostGreeting, ToHost, WorkerGreeting } from "./protocol.ts";

/** Heartbeat interval of this thread, in milliseconds. */
const ALIVE_INTERVAL = 1_000;

/** Reads the first line of stdin, which is the only one. */
async function greeting(): Promise<HostGreeting> {
  const text = await new Response(Deno.stdin.readable).text();
  return JSON.parse(text) as HostGreeting;
}

async function main(): Promise<void> {
  const { address, secret, worker: entry } = await greeting();
  const socket = new FrameSocket(await connect(address));
  socket.send(encodeFrame({ t: "hello", secret }));
  const workers = new Map<number, Worker>();
  const tell = (message: FromHost): void => socket.send(encodeFrame(message));

  const end = (id: number): void => {
    const worker = workers.get(id);
    workers.delete(id);
    worker?.terminate();
  };
  const died = (id: number, message: string): void => {
    end(id);
    tell({ t: "died", worker: id, message: storable(message, 10_000) });
  };
  const start = ({ worker: id, name, permissions, env, module, secret }: ToHost & { t: "start" }): void => {
    try {
      const worker = new Worker(entry, { type: "module", name, deno: { permissions } });
      workers.set(id, worker);
      worker.onerror = (event) => {
        event.preventDefault();
        if (workers.has(id)) died(id, event.message);
      };
      worker.postMessage({ address, secret, env, module } satisfies WorkerGreeting);
    } catch (error) {
      died(id, `Cannot start its worker: ${textOf(error)}`);
    }
  };
  setInterval(() => tell({ t: "alive" }), ALIVE_INTERVAL);
  await socket.read((payload) => {
    const message = decodeFrame(payload) as ToHost;
    if (message.t === "start") start(message);
    else end(message.worker);
  });
  // The engine is gone or has closed the connection.
  Deno.exit(0);
}

await main();
