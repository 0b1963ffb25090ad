import { ProcessBatch } from "../handling/process_batch.ts";
import { RouterBatch } from "../handling/router_batch.ts";
import type { Duration } from "../lib/duration.ts";
import { JOURNAL, type Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { CommandType, EventType, NameOf, PayloadOf } from "../messages/message_type.ts";
import { checkParts } from "../messages/names.ts";
import type { InputOf, OutputOf, Schema } from "../messages/schema.ts";
import { COMMAND_END, EVENT, HANDLED, INBOX, reactionName, TIMER } from "../processes/names.ts";
import type { DoneEffect, TimerEffect, UndoEffect } from "../processes/steps.ts";
import type { Named } from "./aggregate.ts";
import { checkFunctions, checkOptions } from "./check_functions.ts";
import type { ProcessManager, Refusal, Router } from "./handlers.ts";
import type { HandlerKind } from "./model.ts";

/** An event of a process manager, by name. */
export type ProcessEvent<Events extends readonly EventType[], Name extends string> = Message<
  Name,
  PayloadOf<Named<Events[number], Name>>
>;

/** The commands that a process manager may send. */
export type CommandsOf<Commands extends readonly CommandType[]> = {
  [Name in NameOf<Commands[number]>]: ReturnType<Named<Commands[number], Name>>;
}[NameOf<Commands[number]>];

/** What a reaction does: there is no `void` among it, so that one in braces that forgets `return` does not compile. */
export type Reaction<Commands extends readonly CommandType[]> =
  | CommandsOf<Commands>
  | TimerEffect
  | DoneEffect
  | UndoEffect
  | readonly (CommandsOf<Commands> | TimerEffect | DoneEffect | UndoEffect)[];

/** Makes what a reaction may return besides commands. Each is data: nothing happens to what is not returned. */
export interface Steps<Commands extends readonly CommandType[], Timeouts extends Readonly<Record<string, Schema>>> {
  /** The instance. */
  readonly id: string;
  /** When the input was created. Use this time in decisions, so that retries decide the same. */
  readonly now: Date;
  /** Sets a timer: `late` of that name is called, unless it is cancelled, set again, or the instance ends before. */
  after<Name extends keyof Timeouts & string>(
    delay: Duration,
    name: Name,
    data: InputOf<Timeouts[Name]>,
  ): TimerEffect;
  /** Cancels a timer; without effect if it is not set. */
  cancel(name: keyof Timeouts & string): TimerEffect;
  /** Remembers what undoes a step. */
  undoWith(command: CommandsOf<Commands>): UndoEffect;
  /**
   * Sends what {@linkcode Steps.undoWith} remembered, last first, each after the one before was accepted.
   *
   * @param then A command to send after them.
   */
  undo(then?: CommandsOf<Commands>): UndoEffect;
  /** Ends the instance, with its timers; after {@linkcode Steps.undo}, once everything is undone. */
  done(): DoneEffect;
}

/** Settings of {@linkcode processManager}. */
export interface ProcessManagerOptions<
  State,
  Events extends readonly EventType[],
  Commands extends readonly CommandType[],
  Timeouts extends Readonly<Record<string, Schema>>,
> {
  /** The version of its code, noted with everything that an instance handles. @default {1} */
  readonly version?: number;
  /** The events that it reacts to. */
  readonly events: Events;
  /** The commands that it sends. */
  readonly commands: Commands;
  /** Its timers, with the schemas of their data. @default {none} */
  readonly timeouts?: Timeouts;
  /** The events that begin an instance. */
  readonly starts: readonly NameOf<NoInfer<Events>[number]>[];
  /** Which instance, or instances, an event is for; `null`: none. */
  readonly correlate: NoInfer<
    {
      readonly [Name in NameOf<Events[number]>]: (
        event: ProcessEvent<Events, Name>,
      ) => string | readonly string[] | null;
    }
  >;
  /** The state of an instance before its first event. */
  readonly initial: () => State;
  /** One pure function for each event that changes the state. */
  readonly evolve: NoInfer<
    {
      readonly [Name in NameOf<Events[number]>]?: (state: State, event: ProcessEvent<Events, Name>) => State;
    }
  >;
  /** What to do on an event, which the state has in it already. Pure. */
  readonly react: NoInfer<
    {
      readonly [Name in NameOf<Events[number]>]: (
        state: State,
        event: ProcessEvent<Events, Name>,
        step: Steps<Commands, Timeouts>,
      ) => Reaction<Commands>;
    }
  >;
  /** What to do when a command of it was refused, or given up. Pure. */
  readonly refused: NoInfer<
    {
      readonly [Name in NameOf<Commands[number]>]: (
        state: State,
        refusal: Refusal<Name, PayloadOf<Named<Commands[number], Name>>>,
        step: Steps<Commands, Timeouts>,
      ) => Reaction<Commands>;
    }
  >;
  /** What to do when a timer fires: one function for each of `timeouts`. Pure. */
  readonly late?: NoInfer<
    {
      readonly [Name in keyof Timeouts & string]: (
        state: State,
        data: OutputOf<Timeouts[Name]>,
        step: Steps<Commands, Timeouts>,
      ) => Reaction<Commands>;
    }
  >;
  /**
   * What becomes of an event for an instance that has not begun: it waits until it begins, is ignored, or fails.
   *
   * @default {"wait"}
   */
  readonly absent?: "wait" | "ignore" | "fail";
  /** What becomes of an event for an instance that has ended; a start may begin it again. @default {"ignore"} */
  readonly ended?: "ignore" | "fail" | "restart";
  /** Where it begins to read when it is new and the log is not. @default {"now"} */
  readonly from?: "now" | "start";
  /** Retries of a failed input. @default {the server's `max_retries`} */
  readonly retries?: number;
}

/** Tells the instances of a process manager of events. */
export const ROUTER: HandlerKind<Router> = Object.freeze(
  {
    name: "router",
    handles: (handler: Router) => handler.events,
    decidesFor: () => null,
    keeps: () => [],
    writes: { events: false, commands: false, rows: "none", outcomes: false, statements: false, deliveries: false },
    appends: ({ process }) => [{ owner: process, part: INBOX, types: [EVENT], isVersioned: false }],
    begin: (domain, handler, reading) => new RouterBatch(domain, handler, reading),
  } satisfies HandlerKind<Router>,
);

/** Lets the instances of a process manager handle what is in their inboxes. */
export const PROCESS_MANAGER: HandlerKind<ProcessManager> = Object.freeze(
  {
    name: "process manager",
    handles: () => [EVENT, COMMAND_END, TIMER],
    decidesFor: () => null,
    keeps: () => [],
    writes: { events: false, commands: true, rows: "none", outcomes: false, statements: false, deliveries: false },
    reads: ({ name }) => [{ owner: name, part: INBOX, types: [EVENT, COMMAND_END, TIMER] }],
    appends: ({ name }) => [
      { owner: name, part: INBOX, types: [TIMER], isVersioned: false },
      { owner: name, part: JOURNAL, types: [HANDLED], isVersioned: true },
    ],
    sends: ({ commands }) => commands,
    refersTo: ({ events }) => events,
    knows: ({ name, events }) => events.map(({ type }) => reactionName(name, type)),
    companions: ({ router }) => [router],
    haltsOnDeath: true,
    begin: (domain, handler, reading) => new ProcessBatch(domain, handler, reading),
  } satisfies HandlerKind<ProcessManager>,
);

/**
 * Defines a process manager: a process that spans aggregates and may take days. For each id that `correlate` returns there is
 * an instance, which begins with an event of `starts`, reacts to events, refusals and timers by commands, and ends with
 * `step.done()`. Whatever an instance does on one input is one transaction.
 *
 * @param name Its name.
 * @param options What it reacts to, and how.
 * @returns The handler, to be passed to {@linkcode domain}.
 * @throws {DomainDefinitionError} If a function is missing.
 *
 * @example A payment that is reminded of
 * ```ts
 * import { command, event, processManager, type } from "@annals/annals";
 *
 * const Ordered = event("Ordered", { schema: type<{ orderId: string }>() });
 * const Paid = event("Paid", { schema: type<{ orderId: string }>() });
 * const Remind = command("Remind", { schema: type<{ orderId: string }>(), target: ({ orderId }) => orderId });
 *
 * const Payment = processManager("Payment", {
 *   events: [Ordered, Paid],
 *   commands: [Remind],
 *   timeouts: { unpaid: type<{ reminders: number }>() },
 *   starts: ["Ordered"],
 *   correlate: { Ordered: ({ payload }) => payload.orderId, Paid: ({ payload }) => payload.orderId },
 *   initial: () => null,
 *   evolve: {},
 *   react: {
 *     Ordered: (_state, _event, step) => step.after("14d", "unpaid", { reminders: 0 }),
 *     Paid: (_state, _event, step) => step.done(),
 *   },
 *   refused: { Remind: () => [] },
 *   late: {
 *     unpaid: (_state, { reminders }, step) =>
 *       reminders === 3 ? step.done() : [
 *         Remind({ orderId: step.id }),
 *         step.after("7d", "unpaid", { reminders: reminders + 1 }),
 *       ],
 *   },
 * });
 * console.log(Payment.name);
 * ```
 */
export function processManager<
  State,
  const Events extends readonly EventType[],
  const Commands extends readonly CommandType[],
  const Timeouts extends Readonly<Record<string, Schema>> = Record<never, never>,
>(name: string, options: ProcessManagerOptions<State, Events, Commands, Timeouts>): ProcessManager {
  const { version = 1, events, commands, starts, correlate, initial, evolve, react, refused } = options;
  const { timeouts = {} as Timeouts, late = {}, absent = "wait", ended = "ignore", retries } = options;
  const refuse = (fault: string) => new DomainDefinitionError(`Cannot define process manager "${name}": ${fault}`);
  checkFunctions(name, "event", events, react);
  checkFunctions(name, "event", events, correlate);
  checkOptions(name, options);
  checkParts(`process manager "${name}"`, "commands", commands, ({ kind }) => kind === "command");
  const names = new Set<string>(events.map(({ type }) => type));
  if (!Array.isArray(starts) || starts.length === 0) throw refuse('no event begins it; name one in "starts"');
  for (const start of starts) {
    if (!names.has(start)) throw refuse(`it starts by "${start}", which is not in its events`);
  }
  for (const type of Object.keys(evolve)) {
    if (!names.has(type)) throw refuse(`it evolves by "${type}", which is not in its events`);
  }
  for (const { type } of commands) {
    const function_ = Object.hasOwn(refused, type) ? (refused as Record<string, unknown>)[type] : undefined;
    if (typeof function_ !== "function") throw refuse(`"refused" has no function for "${type}", which it sends`);
  }
  for (const timer of Object.keys(timeouts)) {
    const function_ = Object.hasOwn(late, timer) ? (late as Record<string, unknown>)[timer] : undefined;
    if (typeof function_ !== "function") throw refuse(`"late" has no function for "${timer}", which is in "timeouts"`);
    if (!/^[A-Za-z]\w*$/.test(timer)) throw refuse(`timer "${timer}": names have only letters, digits and "_"`);
  }
  const oneOf = (option: string, value: unknown, known: readonly string[]) => {
    if (!known.includes(value as string)) {
      throw refuse(`"${option}" is ${JSON.stringify(value)}; expected ${known.map((one) => `"${one}"`).join(" or ")}`);
    }
  };
  oneOf("absent", absent, ["wait", "ignore", "fail"]);
  oneOf("ended", ended, ["ignore", "fail", "restart"]);
  oneOf("from", options.from ?? "now", ["now", "start"]);
  if (typeof initial !== "function") throw refuse('"initial" is no function; write initial: () => …');
  if (!Number.isSafeInteger(version) || version < 1) throw refuse(`version ${version} is not a whole number from 1`);
  const tries = retries === undefined ? {} : { retries };
  const router: Router = Object.freeze({
    kind: ROUTER,
    name: `${name}Router`,
    process: name,
    events,
    correlate: correlate as unknown as ProcessManager["correlate"],
    permissions: {},
    startsAt: options.from ?? "now",
    ...tries,
  });
  return Object.freeze({
    kind: PROCESS_MANAGER,
    name,
    version,
    events,
    commands,
    timeouts,
    starts: new Set<string>(starts),
    correlate: router.correlate,
    initial,
    evolve: evolve as unknown as ProcessManager["evolve"],
    react: react as unknown as ProcessManager["react"],
    refused: refused as unknown as ProcessManager["refused"],
    late: late as ProcessManager["late"],
    absent,
    ended,
    router,
    permissions: {},
    ...tries,
  });
}
