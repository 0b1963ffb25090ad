import type { DeferredMessage } from "../store/port.ts";

/** A message that is set aside, as the subscription holds it. */
export interface Deferred extends DeferredMessage {
  /** It was in somebody's hands when they vanished: to be tried alone, its attempt counted before it is made. */
  readonly quarantined: boolean;
}

/** The messages that a group has set aside, by stream: of each stream only the first may be tried. */
export class RetryQueue {
  #streams = new Map<string, Deferred[]>();
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
    return this.#streams.get(stream)?.some((deferred) => deferred.position === position) ?? false;
  }

  /** Adds a message, or replaces it. */
  put(deferred: Deferred): void {
    this.remove(deferred.stream, deferred.position);
    const queue = this.#streams.get(deferred.stream) ?? [];
    let at = queue.length;
    while (at > 0 && queue[at - 1].position > deferred.position) at--;
    queue.splice(at, 0, deferred);
    this.#streams.set(deferred.stream, queue);
    this.#size++;
  }

  /** Removes a message. */
  remove(stream: string, position: number): void {
    const queue = this.#streams.get(stream);
    const at = queue?.findIndex((deferred) => deferred.position === position) ?? -1;
    if (!queue || at < 0) return;
    queue.splice(at, 1);
    this.#size--;
    if (queue.length === 0) this.#streams.delete(stream);
  }

  /** When the next message may be tried, in milliseconds since 1970; `Infinity` when there is none. */
  nextDue(): number {
    let due = Infinity;
    for (const [head] of this.#streams.values()) if (head.awaits === null) due = Math.min(due, head.dueAt);
    return due;
  }

  /**
   * What may be tried now: either one message alone, when it has been tried before or is quarantined, or a batch of
   * messages that only waited behind one of those.
   */
  due(now: number, most: number): Deferred[] {
    const batch: Deferred[] = [];
    for (const queue of this.#streams.values()) {
      if (queue[0].dueAt > now || queue[0].awaits !== null) continue;
      if (queue[0].attempts > 0 || queue[0].quarantined) return [queue[0]];
      for (const deferred of queue) {
        const isAlone = deferred.attempts > 0 || deferred.quarantined || deferred.awaits !== null;
        if (isAlone || batch.length === most) break;
        batch.push(deferred);
      }
    }
    return batch.sort((a, b) => a.position - b.position);
  }
}
