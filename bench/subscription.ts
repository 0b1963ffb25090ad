import { MemoryBroker } from "@annals/annals/broker/memory";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { Relay } from "../src/outbox/relay.ts";
import { DEFAULT_SETTINGS } from "../src/groups/settings.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { feed } from "./hosted_group.ts";
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

/** A no-op handler in a host, fed from the memory broker. */
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
  const rate = await feed(MODULE, "Idler", store, broker, EVENTS);
  return [atLeast("StreamSubscription, memory broker, no-op handler in a host", rate, "events/s", 100_000, floor)];
}
