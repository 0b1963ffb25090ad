import { CommandBatch } from "../handling/command_batch.ts";
import { streamName } from "../messages/envelope.ts";
import { checkParts } from "../messages/names.ts";
import type { Aggregate } from "./aggregate.ts";
import type { Boundary } from "./boundary.ts";
import { checkFunctions, checkOptions } from "./check_functions.ts";
import type { CommandFunctions, CommandHandler, CommandsFor } from "./handlers.ts";
import type { Domain, Handler, HandlerKind, PermissionRequest } from "./model.ts";

/** Handles commands that are decided on an aggregate or within a boundary; writes events and outcomes. */
export const COMMAND_HANDLER: HandlerKind<CommandHandler> = Object.freeze(
  {
    name: "command handler",
    handles: (handler: CommandHandler) => handler.commands,
    decidesFor: (handler: CommandHandler) => handler.target,
    keeps: () => [],
    writes: { events: true, commands: false, rows: "none", outcomes: true, statements: false, deliveries: false },
    begin: (domain, handler, reading) => new CommandBatch(domain, handler, reading),
  } satisfies HandlerKind<CommandHandler>,
);

/**
 * Defines the command handler of an aggregate or boundary.
 *
 * @param name The name of the handler and its consumer group.
 * @param target The aggregate; or the boundary, whose key is the payload of each command.
 * @param options The commands, with one function each that takes state and command and returns events. Throw a
 * {@linkcode DomainRuleError} to refuse a command.
 * @returns The handler, to be passed to {@linkcode domain}.
 * @throws {DomainDefinitionError} If commands and functions do not match.
 *
 * @example Counting
 * ```ts
 * import { aggregate, command, commandHandler, event, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Counter = aggregate("Counter", {
 *   events: [Counted],
 *   initial: () => 0,
 *   evolve: { Counted: (state, event) => state + event.payload.by },
 * });
 * const Count = command("Count", { schema: type<{ id: string; by: number }>(), target: (payload) => payload.id });
 * const CounterCommandHandler = commandHandler("CounterCommandHandler", Counter, {
 *   commands: [Count],
 *   handle: { Count: (_state, command) => Counted({ by: command.payload.by }) },
 * });
 * console.log(CounterCommandHandler.name);
 * ```
 */
export function commandHandler<
  A extends Aggregate | Boundary,
  const Commands extends readonly CommandsFor<NoInfer<A>>[],
>(
  name: string,
  target: A,
  options: {
    /** The commands. */
    readonly commands: Commands;
    /** One function per command. */
    readonly handle: NoInfer<CommandFunctions<A, Commands>>;
    /** The permissions it needs. */
    readonly permissions?: PermissionRequest;
    /** Retries of a failed message. @default {the server's `max_retries`} */
    readonly retries?: number;
  },
): CommandHandler {
  const { commands, handle, permissions = {}, retries } = options;
  checkFunctions(name, "command", commands, handle);
  checkParts(`handler "${name}"`, "aggregate", [target], ({ kind }) => kind === "aggregate" || kind === "boundary");
  checkOptions(name, options);
  return Object.freeze({
    kind: COMMAND_HANDLER,
    name,
    target: target as Aggregate | Boundary,
    commands,
    handle: handle as CommandHandler["handle"],
    permissions,
    ...(retries === undefined ? {} : { retries }),
  });
}

/**
 * Returns the stream that a command is stored in.
 *
 * @param domain The domain.
 * @param handler The handler of the command.
 * @param aggregateId The target aggregate's id.
 * @returns Category and stream.
 */
export function commandStream(
  domain: Domain,
  handler: Handler,
  aggregateId: string,
): { category: string; stream: string } {
  const [category] = domain.categoriesOf(handler);
  return { category, stream: streamName(category, aggregateId) };
}
