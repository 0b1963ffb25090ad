import { MemoryBroker } from "@annals/annals/broker/memory";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { GroupRunner } from "../src/engine/group_runner.ts";
import { workerPermissions } from "../src/engine/permissions.ts";
import { PACKAGE_ROOT } from "../src/engine/probe.ts";
import { serve } from "../src/engine/remote.ts";
import { Relay } from "../src/outbox/relay.ts";
import { DEFAULT_SETTINGS } from "../src/subscriptions/settings.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { atLeast, type Result } from "./result.ts";

const EVENTS = 300_000;
const MODULE = new URL("./noop_domain.ts", import.meta.url).href;

/** The floor: the same records in the same batches through the same kind of port, decoded and dropped. */
async function bare(records: readonly unknown[]): Promise<number> {
  const source = `onmessage = ({ data, ports: [port] }) => {
    let count = 0;
    port.onmessage = ({ data: batch }) => {
      for (const record of batch) JSON.parse(record.data);
      count += batch.length;
      port.postMessage(count);
    };
    port.postMessage(0);
  }`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  const { port1, port2 } = new MessageChannel();
  const rate = await new Promise<number>((resolve) => {
    let began = 0;
    port1.onmessage = ({ data: count }) => {
      began ||= performance.now();
      if (count >= records.length) return resolve(records.length / ((performance.now() - began) / 1000));
      port1.postMessage(records.slice(count, count + DEFAULT_SETTINGS.messagesPerTick));
    };
    worker.postMessage(0, [port2]);
  });
  worker.terminate();
  port1.close();
  return rate;
}

/** A no-op handler in a worker of its own, fed from the memory broker over a port. */
export async function subscription(): Promise<Result[]> {
  const [store, broker] = [new MemoryEventStore(), new MemoryBroker()];
  for (let n = 0; n < EVENTS; n += 1_000) {
    await store.commit({
      appends: Array.from({ length: 100 }, (_, stream) => ({
        category: "noop::thing",
        stream: `noop::thing-${stream}`,
        expected: "any" as const,
        publish: true,
        messages: Array.from({ length: 10 }, () => sampleMessage({ n }, { type: "Happened" })),
      })),
    });
  }
  await new Relay({ store, broker, readers: new Map([["noop::thing", ["Idler"]]]) }).drain();
  const floor = await bare(await store.readLog({ limit: EVENTS }));
  const memory = { provider: "memory", url: "", synchronous: "full", schema: "", prefix: "" } as const;
  let began = 0;
  const runner = new GroupRunner({
    store,
    owner: "bench",
    permissions: workerPermissions({ module: MODULE, root: PACKAGE_ROOT }, {}, []),
    grant: {},
    assignment: {
      module: MODULE,
      domain: "noop",
      owner: "bench",
      group: "Idler",
      partition: 0,
      partitions: 1,
      type: "stream",
      settings: DEFAULT_SETTINGS,
      env: {},
      outbox: true,
      store: memory,
      broker: memory,
    },
    turn: () => Promise.resolve(true),
    channels: () => {
      const open = (adapter: object): MessagePort => {
        const { port1, port2 } = new MessageChannel();
        serve(adapter, port1);
        return port2;
      };
      return { store: open(store), broker: open(broker) };
    },
    onWrote: () => {},
    log: (_level, text) => console.error(text),
  });
  void runner.ready.then(() => began = performance.now());
  const running = runner.run();
  while ((await store.checkpoints("Idler"))[0]?.position !== EVENTS) await store.changed(100);
  const rate = EVENTS / ((performance.now() - began) / 1000);
  runner.stop();
  await running;
  return [atLeast("StreamSubscription, memory broker, no-op handler in a worker", rate, "events/s", 100_000, floor)];
}
