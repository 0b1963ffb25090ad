import assert from "node:assert/strict";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain, Handler } from "../domain/model.ts";
import type { ProcessManager } from "../domain/handlers.ts";
import type { Projection, RowOf } from "../domain/projection.ts";
import { type Duration, millisecondsOf } from "../lib/duration.ts";
import type { Draft, Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { Status } from "../processes/instance.ts";
import { BEGIN, type Decided, stored, World } from "./world.ts";
import { withStubs } from "./stubs.ts";

/** Events that have happened, in order: of the aggregate with an id, or of the one that the first command is for. */
export type Happened = Draft | readonly [id: string, ...events: readonly Draft[]];

/** The id of an aggregate that nothing else names. */
const NAMELESS = "given";

/** What a test expected did not come. */
class Unexpected extends Error {}

/** Refuses what is no message: most often a type that was not called. */
function checkDraft(draft: unknown): void {
  if (typeof draft === "function") {
    const { type = "it" } = draft as { type?: string };
    throw new DomainDefinitionError(`"${type}" itself is no message: call it with a payload, like ${type}({ … })`);
  }
  const { kind } = (draft ?? {}) as { kind?: unknown };
  if (kind !== "event" && kind !== "command") {
    throw new DomainDefinitionError(`${JSON.stringify(draft)} is no message: make one by calling its type`);
  }
}

function isCommand(message: Happened): message is CommandDraft {
  return !Array.isArray(message) && (message as Draft).kind === "command";
}

function shown(messages: readonly Pick<Message, "type" | "payload">[]): { type: string; payload: unknown }[] {
  return messages.map(({ type, payload }) => ({ type, payload: stored(payload) }));
}

/** Compares, and says of what the difference is. */
function same(what: string, actual: unknown, expected: unknown): void {
  try {
    assert.deepEqual(actual, expected);
  } catch (error) {
    throw new Unexpected(`${what}\n${(error as Error).message}`);
  }
}

/**
 * Hides the `then` of tests from `await`, which takes the other one: it asks for a subtype, and a type without an optional
 * property is none of one that has it, although it can be assigned to it.
 */
export interface Expecting {
  /** Never there. */
  readonly expecting?: undefined;
}

/**
 * A test as it reads: what happened before, what happens, what follows. Await it; each step begins when those before it have
 * ended, and the first that does not hold rejects.
 */
export class Scenario {
  #world: World;
  #done: Promise<void> = Promise.resolve();
  /** The aggregate that events without an id are of. */
  #subject: { readonly command: string; readonly id: string } | undefined;
  /** What the last `when` led to. */
  #command: string | undefined;
  #decided: Decided | undefined;
  #events: Message[] = [];
  #decidedEvents: Message[] = [];
  #sent: Message[] = [];
  /** Whether the test has said what it expects of a refusal. */
  #isRefusalExpected = true;
  #domain: Domain;

  /**
   * Begins; usually called by {@linkcode given}.
   *
   * @param domain The domain.
   * @param history What happened before.
   */
  constructor(domain: Domain, history: readonly Happened[]) {
    this.#domain = domain;
    this.#world = new World(domain, BEGIN);
    this.#add(given, async () => {
      for (const one of history) await this.#happen(one);
    });
  }

  #add(caller: (...given: any[]) => unknown, step: () => void | Promise<void>): this {
    // Made here, so that it shows the test's own line.
    const failed = new assert.AssertionError({ message: "" });
    Error.captureStackTrace(failed, caller);
    this.#done = this.#done.then(step).catch((error) => {
      if (!(error instanceof Unexpected)) throw error;
      const { message } = error;
      failed.stack = failed.stack?.replace(/^.*$/m, () => `AssertionError: ${message}`);
      throw Object.assign(failed, { message });
    });
    return this;
  }

  async #happen(happened: Happened): Promise<readonly Message[]> {
    const isNamed = Array.isArray(happened);
    const events = (isNamed ? happened.slice(1) : [happened]) as Draft[];
    for (const event of events) checkDraft(event);
    if (isNamed) return await this.#begin(happened[0] as string, events);
    const [event] = events;
    const owner = this.#world.ownerOf(event);
    const subject = this.#subject;
    const handler = subject && this.#domain.handlerOf(subject.command);
    const target = handler?.kind.decidesFor(handler);
    if (target && owner && owner !== target && !target.events.some(({ type }) => type === event.type)) {
      throw new DomainDefinitionError(
        `"${event.type}" is of "${owner?.name}", and "${
          subject!.command
        }" is for "${target.name}": say whose event it is, like ["id", ${event.type}({ … })]`,
      );
    }
    return await this.#begin(subject?.id ?? NAMELESS, events);
  }

  async #begin(id: string, drafts: readonly Draft[]): Promise<readonly Message[]> {
    const { events, sent } = await this.#world.happened(id, drafts);
    this.#sent.push(...sent);
    return events;
  }

  #checkRefusal(): void {
    if (this.#isRefusalExpected || this.#decided?.status !== "refused") return;
    throw new Unexpected(`"${this.#command}" was refused (${this.#decided.message}), which the test does not expect`);
  }

  /**
   * What happens: commands are decided, events have happened, in this order.
   *
   * @param messages The messages.
   */
  when(...messages: readonly Happened[]): this {
    const first = messages.find(isCommand);
    if (first && !this.#subject) this.#subject = { command: first.type, id: first.aggregateId };
    return this.#add(this.when, async () => {
      this.#checkRefusal();
      [this.#events, this.#decidedEvents, this.#sent] = [[], [], []];
      this.#decided = this.#command = undefined;
      for (const message of messages) {
        if (!Array.isArray(message)) checkDraft(message);
        if (!isCommand(message)) {
          this.#events.push(...await this.#happen(message));
          continue;
        }
        this.#checkRefusal();
        const { decided, events, sent } = await this.#world.decide(message);
        this.#command = message.type;
        this.#decided = decided;
        this.#isRefusalExpected = false;
        this.#events.push(...events);
        this.#decidedEvents.push(...events);
        this.#sent.push(...sent);
      }
    });
  }

  /**
   * Expects that the commands of the last `when` led to these events, no others, in the order of the log.
   *
   * @param events The events; none if the commands changed nothing.
   */
  then(this: Scenario & Expecting, ...events: readonly Draft[]): this;
  /** Ends the scenario: called by `await`. */
  then<A = void, B = never>(
    done: ((value: void) => A | PromiseLike<A>) | null | undefined,
    failed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B>;
  then(...given: readonly unknown[]): unknown {
    const [done, failed] = given;
    const isMessageType = typeof done === "function" && "type" in done;
    if ((typeof done === "function" && !isMessageType) || typeof failed === "function") {
      return this.#done.then(() => this.#checkRefusal()).then(done as never, failed as never);
    }
    return this.#add(this.then, () => {
      for (const draft of given) checkDraft(draft);
      this.#checkRefusal();
      this.#checkCommand("then");
      same(`"${this.#command}" led to other events:`, shown(this.#decidedEvents), shown(given as Draft[]));
    });
  }

  #checkCommand(step: string): void {
    if (this.#command === undefined) {
      throw new DomainDefinitionError(`${step} says what follows from a command; say which by when(…)`);
    }
  }

  /**
   * Expects that the last command was refused.
   *
   * @param rule The rule, or a pattern of the refusal, as `field: rule`. @default {any}
   */
  refused(rule?: string | RegExp): this {
    return this.#add(this.refused, () => {
      this.#checkCommand("refused");
      const decided = this.#decided!;
      if (decided.status !== "refused") {
        const events = this.#decidedEvents.map(({ type }) => type).join(", ") || "no event";
        throw new Unexpected(`"${this.#command}" was accepted (${events}), and should have been refused`);
      }
      this.#isRefusalExpected = true;
      const isIt = rule === undefined ||
        (typeof rule === "string" ? rule === decided.rule || rule === decided.message : rule.test(decided.message));
      if (!isIt) {
        throw new Unexpected(`"${this.#command}" was refused for another rule: ${decided.message}, not ${rule}`);
      }
    });
  }

  /**
   * Lets an event handler react to the events since the last `when`. No handler of events does unless asked to here, and what
   * reaches other systems throws unless it is replaced: no test sends a mail.
   *
   * @param handler The handler.
   * @param stubs Globals to replace meanwhile, like `{ fetch: … }`. @default {none}
   */
  reacting(handler: Handler, stubs: Readonly<Record<string, unknown>> = {}): this {
    return this.#add(this.reacting, async () => {
      this.#checkRefusal();
      if (!handler || this.#domain.handlers.get(handler.name) !== handler || !handler.kind.writes.commands) {
        throw new DomainDefinitionError(
          `Cannot let "${handler?.name}" react: it is no event handler of domain "${this.#domain.name}"`,
        );
      }
      const handles = new Set(handler.kind.handles(handler).map(({ type }) => type));
      await withStubs(handler.name, stubs, async () => {
        for (const event of this.#events) {
          if (handles.has(event.type)) this.#sent.push(...await this.#world.react(handler, event));
        }
      });
    });
  }

  /**
   * Expects that exactly these commands were sent since the last `when` or `elapse`, in this order. They are decided only by
   * `settling`; a test that goes on with one of them passes it to `when`.
   *
   * @param commands The commands; none if nothing is to be sent.
   */
  sent(...commands: readonly CommandDraft[]): this {
    return this.#add(this.sent, () => {
      for (const draft of commands) checkDraft(draft);
      this.#checkRefusal();
      same("Other commands were sent:", shown(this.#sent), shown(commands));
    });
  }

  /** Lets the domain decide the commands that were sent, and those that are sent for that, until nothing is left. */
  settling(): this {
    return this.#add(this.settling, async () => {
      this.#checkRefusal();
      const { events, sent } = await this.#world.settle();
      this.#events.push(...events);
      this.#sent.push(...sent);
    });
  }

  /**
   * Expects something of an instance of a process manager.
   *
   * @param manager The process manager.
   * @param id The instance.
   * @param expected Its status, its state, or both.
   */
  process(
    manager: ProcessManager,
    id: string,
    expected: { readonly status?: Status; readonly state?: unknown },
  ): this {
    return this.#add(this.process, async () => {
      this.#checkRefusal();
      if (!manager || this.#domain.handlers.get(manager.name) !== manager || manager.router === undefined) {
        throw new DomainDefinitionError(`"${manager?.name}" is no process manager of domain "${this.#domain.name}"`);
      }
      const { status, state } = await this.#world.instance(manager, id);
      const actual = {
        ...("status" in expected && { status }),
        ...("state" in expected && { state: state === undefined ? undefined : stored(state) }),
      };
      const wanted = "state" in expected && expected.state !== undefined
        ? { ...expected, state: stored(expected.state) }
        : expected;
      same(`Instance "${id}" of "${manager.name}" is another:`, actual, wanted);
    });
  }

  /**
   * Expects a row of a projection, after everything that happened.
   *
   * @param projection The projection.
   * @param row The row.
   */
  row<P extends Projection>(projection: P, row: RowOf<P>): this;
  /**
   * Expects a row of a projection, or none, after everything that happened.
   *
   * @param projection The projection.
   * @param key The key.
   * @param row The row; `null` if there is to be none.
   */
  row<P extends Projection>(projection: P, key: string, row: RowOf<P> | null): this;
  row(projection: Projection, ...given: readonly unknown[]): this {
    return this.#add(this.row, async () => {
      this.#checkRefusal();
      const row = given.at(-1);
      const key = given.length > 1 ? given[0] : (row as Record<string, unknown> | null)?.[projection.key];
      if (typeof key !== "string" && typeof key !== "number") {
        throw new DomainDefinitionError(
          `Cannot look for a row of "${projection.name}" without its "${projection.key}"; for none, write row(${projection.name}, "key", null)`,
        );
      }
      const actual = await this.#world.row(projection, String(key));
      same(`Row "${key}" of projection "${projection.name}" is another:`, actual, stored(row));
    });
  }

  /**
   * Lets time pass; the time of a command is that of `context.now`. Timers fire, and what was scheduled is sent, when it is due.
   *
   * @param duration How long, like `25h`.
   */
  elapse(duration: Duration): this {
    return this.#add(this.elapse, async () => {
      this.#checkRefusal();
      this.#sent = [...await this.#world.elapse(millisecondsOf(duration))];
    });
  }

  /**
   * Sets the time, which is 2026-01-01T00:00Z at first.
   *
   * @param time The time.
   */
  at(time: Date): this {
    return this.#add(this.at, () => {
      this.#world.now = time.getTime();
    });
  }
}

/**
 * Begins a test of a domain: no store, no server, no permissions. Await the whole.
 *
 * @param domain The domain.
 * @param history What happened before: events of the aggregate that the first command is for, or lists of an id and its
 * events.
 * @returns The scenario, which goes on with `when`.
 *
 * @example Given, when, then
 * ```ts
 * import { aggregate, command, commandHandler, domain, event, type } from "@annals/annals";
 * import { given } from "@annals/annals/testing";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Counter = aggregate("Counter", {
 *   events: [Counted],
 *   initial: () => 0,
 *   evolve: { Counted: (state, { payload }) => state + payload.by },
 *   invariants: { "may not exceed ten": (state) => state <= 10 },
 * });
 * const Count = command("Count", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
 * const Counters = commandHandler("Counters", Counter, {
 *   commands: [Count],
 *   handle: { Count: (_state, { payload }) => Counted({ by: payload.by }) },
 * });
 * const counting = domain("counting", { aggregates: [Counter], handlers: [Counters] });
 *
 * await given(counting, Counted({ by: 7 })).when(Count({ id: "a", by: 3 })).then(Counted({ by: 3 }));
 * await given(counting, Counted({ by: 7 })).when(Count({ id: "a", by: 4 })).refused("may not exceed ten");
 * ```
 */
export function given(domain: Domain, ...history: readonly Happened[]): Scenario {
  return new Scenario(domain, history);
}
