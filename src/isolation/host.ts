/**
 * The entry of a host: a process that runs domain code, and nothing else. This thread starts workers and hands on
 * frames between them and the engine; it never loads the domain.
 *
 * @module
 */
import { textOf } from "../messages/thrown.ts";
import { storable } from "../messages/text.ts";
import { decodeFrame, encodeFrame, FrameSocket } from "./frames.ts";
import type { FromHost, HostGreeting, ToHost } from "./protocol.ts";

/** How often the engine is told that this thread turns, in milliseconds. */
const ALIVE_INTERVAL = 1_000;

/** From when on a worker that does not turn is worth telling of, in milliseconds. */
const SILENT = 1_500;

interface Hosted {
  readonly worker: Worker;
  readonly port: MessagePort;
  /** When its event loop was last seen turning. */
  beatAt: number;
}

/** The first and only line of stdin; it is not read any further. */
async function greeting(): Promise<HostGreeting> {
  const text = await new Response(Deno.stdin.readable).text();
  return JSON.parse(text) as HostGreeting;
}

async function connect(address: string | number): Promise<Deno.Conn> {
  return typeof address === "string"
    ? await Deno.connect({ transport: "unix", path: address })
    : await Deno.connect({ hostname: "127.0.0.1", port: address });
}

async function main(): Promise<void> {
  const { address, secret, worker: entry } = await greeting();
  const socket = new FrameSocket(await connect(address));
  const workers = new Map<number, Hosted>();
  const tell = (message: FromHost): void => socket.send(0, encodeFrame(message));
  tell({ t: "hello", secret });

  const end = (id: number): void => {
    const hosted = workers.get(id);
    workers.delete(id);
    hosted?.port.close();
    hosted?.worker.terminate();
  };
  const died = (id: number, message: string): void => {
    if (!workers.has(id)) return;
    end(id);
    tell({ t: "died", worker: id, message: storable(message, 10_000) });
  };
  const start = ({ worker: id, name, permissions, env, module }: ToHost & { t: "start" }): void => {
    const { port1, port2 } = new MessageChannel();
    let worker: Worker;
    try {
      worker = new Worker(entry, { type: "module", name, deno: { permissions } });
    } catch (error) {
      tell({ t: "died", worker: id, message: `Cannot start its worker: ${storable(textOf(error), 10_000)}` });
      return;
    }
    const hosted: Hosted = { worker, port: port1, beatAt: performance.now() };
    workers.set(id, hosted);
    worker.onerror = (event) => {
      event.preventDefault();
      died(id, event.message);
    };
    port1.onmessage = ({ data }) => {
      hosted.beatAt = performance.now();
      if (data instanceof Uint8Array) socket.send(id, data);
    };
    worker.postMessage({ port: port2, env, module }, [port2]);
  };
  setInterval(() => {
    const now = performance.now();
    const silent = [...workers].map(([id, { beatAt }]): [number, number] => [id, Math.round(now - beatAt)]);
    tell({ t: "alive", silent: silent.filter(([, milliseconds]) => milliseconds > SILENT) });
  }, ALIVE_INTERVAL);
  await socket.read((channel, payload) => {
    if (channel > 0) return workers.get(channel)?.port.postMessage(payload, [payload.buffer]);
    const message = decodeFrame(payload) as ToHost;
    if (message.t === "start") start(message);
    else end(message.worker);
  });
  // The engine is gone, or has no more use for this process.
  Deno.exit(0);
}

await main();
