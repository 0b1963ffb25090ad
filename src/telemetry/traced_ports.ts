import type { Span } from "@opentelemetry/api";
import type { Broker } from "../broker/port.ts";
import { overriding } from "../lib/overriding.ts";
import { isOfCommands, type NewMessage } from "../messages/envelope.ts";
import { textOf } from "../messages/thrown.ts";
import { withTraceParent } from "../messages/trace_parent.ts";
import type { EventStore } from "../store/port.ts";
import { causesOf } from "./traced_worker.ts";
import { traceParentOfSpan, type Tracing } from "./tracing.ts";

/**
 * Makes a span of each message that somebody appends who is no handler: `process` of a command that a client sends,
 * `append` of what comes from other systems. The message carries the span.
 *
 * @param tracing Makes the spans.
 * @param store The store.
 */
export function tracedStore<S extends EventStore>(tracing: Tracing, store: S): S {
  const own: Partial<EventStore> = {
    commit: async (commit) => {
      const spans: Span[] = [];
      const traced = (message: NewMessage, category: string, stream: string): NewMessage => {
        // What was decided right here follows from a command that has no span, and is not in the log.
        if (!tracing.traces(message)) return message;
        const cause = tracing.causeOf(message);
        const span = tracing.start(`${isOfCommands(category) ? "process" : "append"} ${message.type}`, {
          kind: "PRODUCER",
          attributes: {
            "annals.type": message.type,
            "annals.stream": stream,
            "annals.correlation_id": message.correlationId,
          },
          causes: cause ? [cause] : [],
          isHere: true,
        });
        spans.push(span);
        return { ...message, metadata: withTraceParent(message.metadata, traceParentOfSpan(span)) };
      };
      const { appends, schedule } = commit;
      if (!appends?.length && !schedule?.length) return await store.commit(commit);
      try {
        return await store.commit({
          ...commit,
          ...(appends && {
            appends: appends.map((append) => ({
              ...append,
              messages: append.messages.map((message) => traced(message, append.category, append.stream)),
            })),
          }),
          ...(schedule && {
            schedule: schedule.map((entry) => ({
              ...entry,
              message: traced(entry.message, entry.category, entry.stream),
            })),
          }),
        });
      } catch (error) {
        for (const span of spans) tracing.fail(span, textOf(error));
        throw error;
      } finally {
        for (const span of spans) span.end();
      }
    },
  };
  return overriding<S>(store, own as Partial<S>);
}

/**
 * Makes a span of each batch that the relay takes to the broker, linked to what its messages follow from.
 *
 * @param tracing Makes the spans.
 * @param broker The broker.
 */
export function tracedBroker<B extends Broker>(tracing: Tracing, broker: B): B {
  const own: Partial<Broker> = {
    publish: async (records, ...given) => {
      const causes = causesOf(tracing, records);
      if (causes.length === 0) return await broker.publish(records, ...given);
      const span = tracing.start("relay", {
        kind: "PRODUCER",
        attributes: {
          "annals.messages": records.length,
          "annals.first_position": records[0].position,
          "annals.last_position": records[records.length - 1].position,
        },
        causes,
      });
      try {
        return await broker.publish(records, ...given);
      } catch (error) {
        tracing.fail(span, textOf(error));
        throw error;
      } finally {
        span.end();
      }
    },
  };
  return overriding<B>(broker, own as Partial<B>);
}
