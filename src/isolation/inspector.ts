import type { MessageRecord } from "../messages/envelope.ts";
import { Mutex } from "../lib/mutex.ts";
import { inParts } from "../store/large.ts";
import { ModuleLoadError } from "./errors.ts";
import type { HostPool, Unit } from "./host_pool.ts";
import type { DomainQuestion, DomainSchemas, DraftAnswer, FromWorker, ReadPayload } from "./protocol.ts";

/** The most messages that are sent to a worker at a time. */
const MOST_AT_ONCE = 1_000;

/** How long a worker is kept that nobody asks, in milliseconds. */
const IDLE = 60_000;

/** Asks a domain's code what only it knows, while the engine runs. Its worker is started on demand, and ended when idle. */
export class Inspector {
  #pool: HostPool;
  #unit: Unit;
  #isAdded = false;
  #asking = 0;
  #idle: ReturnType<typeof setTimeout> | undefined;
  /** States are folded in several steps, one stream at a time. */
  #folding = new Mutex();
  #schemas: Promise<DomainSchemas> | undefined;

  /**
   * @param pool The hosts.
   * @param unit The worker.
   */
  constructor(pool: HostPool, unit: Unit) {
    this.#pool = pool;
    this.#unit = unit;
  }

  /**
   * Checks the payload of a command, and says where the command goes.
   *
   * @param type The command's name.
   * @param payload JSON text.
   */
  async draft(type: string, payload: string): Promise<DraftAnswer> {
    const { answer } = await this.#ask({ t: "draft", type, payload }, "drafted");
    return answer;
  }

  /** Decodes and upcasts stored payloads: one per message, in order. */
  async decode(records: readonly MessageRecord[]): Promise<readonly ReadPayload[]> {
    const payloads: ReadPayload[] = [];
    for (const part of inParts(records, MOST_AT_ONCE)) {
      payloads.push(...(await this.#ask({ t: "decode", records: part }, "decoded")).payloads as ReadPayload[]);
    }
    return payloads;
  }

  /**
   * Returns the state of an aggregate after each of its messages.
   *
   * @param records The messages of its stream, from the first one.
   * @returns JSON texts; `null` for a stream of no aggregate, and from the first message on that cannot be applied.
   */
  fold(records: readonly MessageRecord[]): Promise<readonly (string | null)[]> {
    return this.#folding.run(async () => {
      const states: (string | null)[] = [];
      for (const part of inParts(records, MOST_AT_ONCE)) {
        const question = { t: "fold", records: part, isFirst: states.length === 0 } as const;
        states.push(...(await this.#ask(question, "folded")).states);
      }
      return states;
    });
  }

  /** JSON schemas of commands, events and rows. */
  schemas(): Promise<DomainSchemas> {
    return this.#schemas ??= this.#ask({ t: "schemas" }, "schemas").then(({ schemas }) => schemas, (error) => {
      this.#schemas = undefined;
      throw error;
    });
  }

  async #ask<T extends FromWorker["t"]>(question: DomainQuestion, expected: T): Promise<FromWorker & { t: T }> {
    clearTimeout(this.#idle);
    this.#asking++;
    if (!this.#isAdded) this.#pool.add(this.#unit);
    this.#isAdded = true;
    try {
      const answer = await this.#pool.ask(this.#unit.name, question);
      if (answer.t !== expected) throw new ModuleLoadError(`it answered with "${answer.t}"`);
      return answer as FromWorker & { t: T };
    } finally {
      if (--this.#asking === 0 && this.#isAdded) this.#idle = setTimeout(() => this.close(), IDLE);
    }
  }

  /** Ends its worker; a later question starts another. */
  close(): void {
    clearTimeout(this.#idle);
    if (!this.#isAdded) return;
    this.#isAdded = false;
    this.#pool.remove(this.#unit.name);
  }
}
