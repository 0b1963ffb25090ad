import type { DeferredMessage } from "../store/port.ts";

/** A deferred message in the retry queue. */
export interface Deferred extends DeferredMessage {
  /**
   * Whether it is tried alone, and its attempt counted before it begins, also if it was never tried: it may have been in
   * flight during a crash.
   */
  readonly quarantined: boolean;
  /** Whether a crash may be due to it that is not counted in the store yet. */
  readonly suspect: boolean;
}

/** How much a group may have deferred, as it keeps that in memory: messages, and characters of their errors. */
const MOST_DEFERRED = 100_000;
/** The same with those that wait for an operator, or for other code, and how often these are counted. */
const MOST_HELD = 1_000_000;
const HELD_STEP = 1_000;
const MOST_CHARACTERS = 64_000_000;

/** How many that were tried before are tried together, at most. */
const MOST_TOGETHER = 64;

function charactersOf({ failures }: Deferred): number {
  return failures.reduce((sum, { error }) => sum + error.length, 0);
}

/** Whether a message is tried on its own account, and its attempt counted before it begins: it did not only wait. */
export function isTriedAgain({ attempts, quarantined }: Deferred): boolean {
  return attempts > 0 || quarantined;
}

/** The first messages of a queue that only waited; it may have a hundred thousand. */
function waitedIn(queue: readonly Deferred[], most: number): readonly Deferred[] {
  const first = queue.slice(0, most);
  const end = first.findIndex((deferred) => isTriedAgain(deferred) || deferred.awaits !== null);
  return end < 0 ? first : first.slice(0, end);
}

/** Takes as many of each list as of the others, as far as they go. */
function evenly(lists: readonly (readonly Deferred[])[], most: number): Deferred[] {
  const taken: Deferred[] = [];
  for (let i = 0; taken.length < most; i++) {
    const next = lists.flatMap((list) => list[i] ?? []).slice(0, most - taken.length);
    if (next.length === 0) break;
    taken.push(...next);
  }
  return taken;
}

/** Where a position is in a queue, or belongs: a stream may have as many as fit. */
function placeOf(queue: readonly Deferred[], position: number): number {
  let [low, high] = [0, queue.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (queue[middle].position < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The retry queue: the deferred messages of a group by stream. Only the first of each stream may be tried. */
export class RetryQueue {
  #streams = new Map<string, Deferred[]>();
  #size = 0;
  /** How many of how many were held when they were counted. */
  #heldOf = { size: -1, held: 0 };
  #characters = 0;
  #longest: (attempts: number) => number;

  /**
   * @param longest The longest delay after so many attempts, in milliseconds. What would be due later than that was
   *   deferred before a clock was set back: it is due now. @default {any}
   */
  constructor(longest: (attempts: number) => number = () => Infinity) {
    this.#longest = longest;
  }

  /** The number of messages. */
  get size(): number {
    return this.#size;
  }

  /** Whether it holds as much as it may. */
  get isFull(): boolean {
    if (this.#size < MOST_DEFERRED) return this.#characters >= MOST_CHARACTERS;
    // What waits for an operator, or for other code, does not keep the rest from going on.
    return this.#size >= MOST_HELD || this.#characters >= MOST_CHARACTERS || this.#size - this.#held() >= MOST_DEFERRED;
  }

  /** Nearly how many messages are behind one that waits for an operator, or for other code. */
  #held(): number {
    if (Math.abs(this.#size - this.#heldOf.size) >= HELD_STEP) {
      let held = 0;
      for (const queue of this.#streams.values()) if (queue[0].awaits !== null) held += queue.length;
      this.#heldOf = { size: this.#size, held };
    }
    return this.#heldOf.held;
  }

  /** Whether later messages of a stream must wait. */
  blocks(stream: string): boolean {
    return this.#streams.has(stream);
  }

  /** Whether a message is in the queue. */
  has(stream: string, position: number): boolean {
    return this.get(stream, position) !== undefined;
  }

  /** Whether a crash may be due to one of its messages. What waits for other code was not in flight, nor what waits behind. */
  get hasSuspects(): boolean {
    for (const queue of this.#streams.values()) {
      if (queue[0].awaits === null && queue.some(({ suspect }) => suspect)) return true;
    }
    return false;
  }

  /** Returns a message. */
  get(stream: string, position: number): Deferred | undefined {
    const queue = this.#streams.get(stream) ?? [];
    const found = queue[placeOf(queue, position)];
    return found?.position === position ? found : undefined;
  }

  /** Returns the first message of a stream, for which the others wait. */
  head(stream: string): Deferred | undefined {
    return this.#streams.get(stream)?.[0];
  }

  #count(deferred: Deferred, change: 1 | -1): void {
    this.#size += change;
    this.#characters += change * charactersOf(deferred);
  }

  /** Adds a message, or replaces it. */
  put(deferred: Deferred): void {
    const { stream, position } = deferred;
    this.#count(deferred, 1);
    const queue = this.#streams.get(stream);
    if (!queue) return void this.#streams.set(stream, [deferred]);
    const at = placeOf(queue, position);
    const isThere = queue[at]?.position === position;
    for (const before of queue.splice(at, isThere ? 1 : 0, deferred)) this.#count(before, -1);
  }

  /** Removes a message. */
  remove(stream: string, position: number): void {
    const queue = this.#streams.get(stream);
    if (!queue) return;
    const at = placeOf(queue, position);
    if (queue[at]?.position !== position) return;
    this.#count(queue.splice(at, 1)[0], -1);
    if (queue.length === 0) this.#streams.delete(stream);
  }

  /** All messages, by stream. */
  *[Symbol.iterator](): Generator<Deferred> {
    for (const queue of this.#streams.values()) yield* queue;
  }

  /** How long until the next message is due, in milliseconds, at most 0 if one is; `Infinity` if there is none. */
  untilDue(now: number): number {
    let left = Infinity;
    for (const [head] of this.#streams.values()) if (head.awaits === null) left = Math.min(left, this.#left(head, now));
    return left;
  }

  #left({ dueAt, attempts }: Deferred, now: number): number {
    const left = dueAt - now;
    return left > this.#longest(attempts) ? 0 : left;
  }

  /**
   * Returns what is due: a single message if it was tried before or is quarantined, or else a batch of messages that
   * only waited behind one.
   *
   * @param now The time.
   * @param most The most messages of a batch.
   * @param prefer Which of the two comes first; in turns, neither keeps the other waiting. Of the single ones, that which
   *   has been due for longest. @default {"alone"}
   * @param tried The positions that were tried alone, and could not be written: all others come first. @default {none}
   * @param isTogether Whether several that were tried before are tried at the same time, each of another stream: where it is
   *   not the handler that takes long. @default {false}
   */
  due(
    now: number,
    most: number,
    prefer: "alone" | "batch" = "alone",
    tried: ReadonlySet<number> = new Set(),
    isTogether = false,
  ): Deferred[] {
    const together: { readonly head: Deferred; readonly left: number }[] = [];
    const waiting: (readonly Deferred[])[] = [];
    const batch: Deferred[] = [];
    let alone: Deferred | undefined;
    let least = Infinity;
    let isAgain = true;
    for (const queue of this.#streams.values()) {
      const [head] = queue;
      const left = head.awaits === null ? this.#left(head, now) : Infinity;
      if (left > 0) continue;
      if (isTogether && head.attempts > 0 && !head.quarantined) {
        together.push({ head, left });
        continue;
      }
      if (isTriedAgain(head)) {
        const again = tried.has(head.position);
        if (again === isAgain ? left < least : isAgain) [alone, least, isAgain] = [head, left, again];
        continue;
      }
      if (isTogether) waiting.push(waitedIn(queue, most));
      else batch.push(...waitedIn(queue, most - batch.length));
    }
    batch.push(...evenly(waiting, most));
    if (alone && (prefer === "alone" || batch.length === 0)) return [alone];
    if (together.length > 0 && (prefer === "alone" || batch.length === 0)) {
      // Those that have been due for longest.
      return together.sort((a, b) => a.left - b.left).slice(0, Math.min(most, MOST_TOGETHER)).map(({ head }) => head)
        .sort((a, b) => a.position - b.position);
    }
    return batch.sort((a, b) => a.position - b.position);
  }
}
