import type { CommandDraft } from "../domain/handlers.ts";
import { type Duration, millisecondsOf } from "../lib/duration.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { whatIs } from "../messages/names.ts";
import { jsonFaults } from "../messages/json.ts";
import { type Schema, validate } from "../messages/schema.ts";

declare const effect: unique symbol;

/** What a reaction does with a timer. */
export interface TimerEffect {
  /** @internal */
  readonly [effect]: "timer";
}

/** The end of an instance. */
export interface DoneEffect {
  /** @internal */
  readonly [effect]: "done";
}

/** What a reaction does about undoing. */
export interface UndoEffect {
  /** @internal */
  readonly [effect]: "undo";
}

/** The effects as they are carried out. */
export type Effect =
  | { readonly effect: "set"; readonly name: string; readonly after: number; readonly data: unknown }
  | { readonly effect: "cancel"; readonly name: string }
  | { readonly effect: "undoWith"; readonly command: CommandDraft }
  | { readonly effect: "undo"; readonly then: CommandDraft | undefined }
  | { readonly effect: "done" };

/** What a reaction has decided, in order. */
export type Decision = readonly (CommandDraft | Effect)[];

/** Which commands and timers there are. */
export interface Vocabulary {
  /** The process manager. */
  readonly name: string;
  /** The names of the commands that it sends. */
  readonly commands: ReadonlySet<string>;
  /** Its timers, with the schemas of their data. */
  readonly timeouts: Readonly<Record<string, Schema>>;
}

/** Makes effects for one reaction, and checks what it returns. */
export class StepMaker {
  readonly id: string;
  readonly now: Date;
  #words: Vocabulary;
  #made = new Set<unknown>();

  /**
   * @param words Which commands and timers there are.
   * @param id The instance.
   * @param now The time of the input.
   */
  constructor(words: Vocabulary, id: string, now: Date) {
    this.#words = words;
    this.id = id;
    this.now = new Date(now);
  }

  #make(made: Effect): any {
    this.#made.add(Object.freeze(made));
    return made;
  }

  #checkTimer(name: string): void {
    const { name: process, timeouts } = this.#words;
    if (Object.hasOwn(timeouts, name)) return;
    throw new DomainDefinitionError(
      `Process manager "${process}" has no timer "${name}"; add it to "timeouts", with the schema of its data`,
    );
  }

  #checkCommand(command: unknown): CommandDraft {
    const { name, commands } = this.#words;
    const { kind, type } = (command ?? {}) as { kind?: unknown; type?: string };
    if (typeof command === "function") {
      throw new DomainDefinitionError(`Cannot send "${type}" itself: call it with a payload, like ${type}({ … })`);
    }
    if (kind === "command" && commands.has(type!)) return command as CommandDraft;
    throw new DomainDefinitionError(
      `A reaction of "${name}" returned ${whatIs(command)}; return commands of its "commands", and effects of \`step\``,
    );
  }

  // Reactions may take them out of the object.
  after = (delay: Duration, name: string, data?: unknown): any => {
    this.#checkTimer(name);
    const checked = validate(`${this.#words.name}.${name}`, this.#words.timeouts[name], data);
    const faults = jsonFaults(checked);
    if (faults.length > 0) throw new PayloadError(name, faults);
    return this.#make({ effect: "set", name, after: millisecondsOf(delay), data: checked });
  };

  cancel = (name: string): any => {
    this.#checkTimer(name);
    return this.#make({ effect: "cancel", name });
  };

  undoWith = (command: CommandDraft): any => this.#make({ effect: "undoWith", command: this.#checkCommand(command) });

  undo = (then?: CommandDraft): any => {
    return this.#make({ effect: "undo", then: then === undefined ? undefined : this.#checkCommand(then) });
  };

  done = (): any => this.#make({ effect: "done" });

  /** Checks what a reaction has returned. */
  take(returned: unknown, what: string): Decision {
    const { name } = this.#words;
    if (returned === undefined || returned === null) {
      throw new DomainDefinitionError(
        `"${name}" returned ${returned} for ${what}; return what to do, or [] (missing return?)`,
      );
    }
    if (typeof (returned as { then?: unknown }).then === "function") {
      throw new DomainDefinitionError(
        `"${name}" returned a promise for ${what}; reactions are pure: return what to do`,
      );
    }
    const decision = ([] as unknown[]).concat(returned).map((one) =>
      this.#made.delete(one) ? one as Effect : this.#checkCommand(one)
    );
    if (this.#made.size > 0) {
      const [{ effect }] = this.#made as Set<Effect>;
      throw new DomainDefinitionError(
        `"${name}" called step.${
          effect === "set" ? "after" : effect
        }() for ${what} and did not return the result: nothing would come of it`,
      );
    }
    return decision;
  }
}
