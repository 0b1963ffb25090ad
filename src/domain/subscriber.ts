import { SubscriberBatch } from "../handling/subscriber_batch.ts";
import { type CloudEvent, RECEIVED, RECEIVED_PART } from "../messages/cloud_event.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { checkName } from "../messages/names.ts";
import { checkSchema, type OutputOf, type Schema } from "../messages/schema.ts";
import { checkOptions } from "./check_functions.ts";
import type { CommandDraft, Subscriber } from "./handlers.ts";
import type { HandlerKind } from "./model.ts";

/** Turns events of other systems into commands; what was received is stored first, and then handled like any message. */
export const SUBSCRIBER: HandlerKind<Subscriber> = Object.freeze(
  {
    name: "subscriber",
    handles: () => [RECEIVED],
    decidesFor: () => null,
    keeps: () => [],
    writes: { events: false, commands: true, rows: "none", outcomes: false, statements: false, deliveries: false },
    reads: ({ name }: Subscriber) => [{ owner: name, part: RECEIVED_PART, types: [RECEIVED] }],
    receives: ({ type }: Subscriber) => type,
    begin: (domain, handler, reading) => new SubscriberBatch(domain, handler, reading),
  } satisfies HandlerKind<Subscriber>,
);

/**
 * Defines a subscriber: it takes CloudEvents of one type from another system, and sends commands for them. Where they come
 * from is up to `domain.toml`: a stream of Redis, or signed webhooks. One with the same source and id as another is the same
 * event, and handled once.
 *
 * @param name The name of the subscriber and its consumer group.
 * @param options The type of the events, the schema of their data, and the commands to send.
 * @returns The handler, to be passed to {@linkcode domain}.
 * @throws {DomainDefinitionError} If an option is missing or wrong.
 *
 * @example Crediting an account when a payment provider reports a payment
 * ```ts
 * import { command, subscriber, type } from "@annals/annals";
 * import { z } from "zod";
 *
 * const Credit = command("Credit", {
 *   schema: type<{ accountId: string; cents: number; reference: string }>(),
 *   target: ({ accountId }) => accountId,
 * });
 * const Payments = subscriber("Payments", {
 *   type: "com.psp.paid.v1",
 *   schema: z.object({ account: z.string(), cents: z.int().positive() }),
 *   to: ({ data, id }) => Credit({ accountId: data.account, cents: data.cents, reference: id }),
 * });
 * console.log(Payments.name);
 * ```
 */
export function subscriber<S extends Schema>(name: string, options: {
  /** The type of the CloudEvents that it takes; others from the same place are passed over. */
  readonly type: string;
  /** What their data look like: any Standard Schema. One that does not match becomes a dead letter. */
  readonly schema: S;
  /** Returns the command to send, several, or `[]` for none. Must be pure. */
  readonly to: (event: CloudEvent<OutputOf<S>>) => CommandDraft | readonly CommandDraft[];
  /** Retries of a failed event. @default {the server's `max_retries`} */
  readonly retries?: number;
}): Subscriber {
  const { type, schema, to, retries } = options ?? {};
  checkName("subscriber", name);
  checkOptions(name, options ?? {});
  if ((options as { formerly?: unknown }).formerly !== undefined) {
    throw new DomainDefinitionError(
      `Cannot define subscriber "${name}": what it has received is under its name, so it cannot go on as another; keep the old name`,
    );
  }
  checkSchema(`subscriber "${name}"`, schema);
  if (typeof type !== "string" || type === "") {
    throw new DomainDefinitionError(
      `Cannot define subscriber "${name}": "type" is ${
        JSON.stringify(type)
      }; expected a type of CloudEvents, like "com.example.paid.v1"`,
    );
  }
  if (typeof to !== "function") {
    throw new DomainDefinitionError(
      `Cannot define subscriber "${name}": "to" is no function; write to: (event) => Command({ … })`,
    );
  }
  return Object.freeze({
    kind: SUBSCRIBER,
    name,
    type,
    schema,
    to: to as Subscriber["to"],
    permissions: {},
    ...(retries === undefined ? {} : { retries }),
  });
}
