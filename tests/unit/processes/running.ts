import type { Domain } from "@annals/annals";
import type { MemoryEventStore } from "@annals/annals/store/memory";
import { EventStoreSubscription } from "@annals/annals/subscriptions";
import { commandStream } from "../../../src/domain/command_handler.ts";
import type { CommandDraft } from "../../../src/domain/handlers.ts";
import { Scheduler } from "../../../src/outbox/scheduler.ts";
import { newMessage } from "../../../src/testing/world.ts";

/** A store, and groups that run one after the other until nothing is left. */
export function running(store: MemoryEventStore) {
  const send = async (domain: Domain, command: CommandDraft) => {
    const { category, stream } = commandStream(domain, domain.handlerOf(command.type)!, command.aggregateId);
    const messages = [newMessage(command, Date.now())];
    await store.commit({ appends: [{ category, stream, expected: "any", messages, publish: true }] });
    return messages[0].id;
  };
  const settle = async (domain: Domain) => {
    for (let last = -1; last !== await store.lastPosition();) {
      last = await store.lastPosition();
      await new Scheduler({ store, outbox: true }).release();
      for (const handler of domain.handlers.values()) {
        const subscription = new EventStoreSubscription({ domain, handler, store, settings: { maxRetries: 0 } });
        await subscription.runUntil(await store.lastPosition(), new AbortController().signal);
      }
    }
  };
  const types = async (...names: string[]) =>
    (await store.readLog({ limit: 1_000 })).filter(({ type }) => names.includes(type)).map(({ stream, type }) =>
      `${type} ${stream.slice(stream.lastIndexOf("-") + 1)}`
    );
  return { send, settle, types };
}
