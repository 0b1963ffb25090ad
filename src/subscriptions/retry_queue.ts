import type { ParkedMessage } from "../store/port.ts";

/** A message that is set aside, as the subscription holds it. */
export interface Parked extends ParkedMessage {
  /** It was in somebody's hands when they vanished: to be tried alone, its attempt counted before it is made. */
  readonly suspect: boolean;
}

/** The messages that a group has set aside, by stream: of each stream only the first may be tried. */
export class RetryQueue {
  #streams = new Map<string, Parked[]>();
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Whether later messages of a stream have to wait. */
  blocks(stream: string): boolean {
    return this.#streams.has(stream);
  }

  /** Whether a message is here. */
  has(stream: string, position: number): boolean {
    return this.#streams.get(stream)?.some((parked) => parked.position === position) ?? false;
  }

  /** Adds a message, or replaces it. */
  put(parked: Parked): void {
    this.remove(parked.stream, parked.position);
    const queue = this.#streams.get(parked.stream) ?? [];
    let at = queue.length;
    while (at > 0 && queue[at - 1].position > parked.position) at--;
    queue.splice(at, 0, parked);
    this.#streams.set(parked.stream, queue);
    this.#size++;
  }

  /** Removes a message. */
  remove(stream: string, position: number): void {
    const queue = this.#streams.get(stream);
    const at = queue?.findIndex((parked) => parked.position === position) ?? -1;
    if (!queue || at < 0) return;
    queue.splice(at, 1);
    this.#size--;
    if (queue.length === 0) this.#streams.delete(stream);
  }

  /** When the next message may be tried, in milliseconds since 1970; `Infinity` when there is none. */
  nextDue(): number {
    let due = Infinity;
    for (const [head] of this.#streams.values()) due = Math.min(due, head.dueAt);
    return due;
  }

  /**
   * What may be tried now: either one message alone, when it has been tried before or is suspect, or a batch of
   * messages that only waited behind one of those.
   */
  due(now: number, most: number): Parked[] {
    const batch: Parked[] = [];
    for (const queue of this.#streams.values()) {
      if (queue[0].dueAt > now) continue;
      if (queue[0].attempts > 0 || queue[0].suspect) return [queue[0]];
      for (const parked of queue) {
        if (parked.attempts > 0 || parked.suspect || batch.length === most) break;
        batch.push(parked);
      }
    }
    return batch.sort((a, b) => a.position - b.position);
  }
}
