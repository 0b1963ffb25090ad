import { scheduleKey } from "../domain/scheduling.ts";
import { idFault } from "../messages/ids.ts";
import { ScheduleChangedError } from "../store/errors.ts";
import type { Commit, Due, ScheduledMessage } from "../store/port.ts";
import type { Operator } from "./operator.ts";

/** Most scheduled messages read at a time, and most characters of them. */
const PAGE = 500;
const PAGE_CHARACTERS = 4_000_000;

/** How often a change is tried while servers change the same. */
const MOST_TRIES = 10;

/** Finds a scheduled message by the key that a program gave it, or by a timer's; `null` if there is none. */
export async function findScheduled(
  { store }: Pick<Operator, "store">,
  key: string,
): Promise<ScheduledMessage | null> {
  // A timer's may be longer than a given one can be.
  for (const name of idFault(key) === null ? [scheduleKey(key), key] : [key]) {
    const [found] = await store.scheduled({ key: name });
    if (found) return found;
  }
  return null;
}

/** Goes through what is scheduled, by key, a page at a time. */
async function* allScheduled({ store }: Pick<Operator, "store">): AsyncGenerator<ScheduledMessage> {
  let after: string | undefined;
  for (let limit = 4;;) {
    const page: ScheduledMessage[] = await store.scheduled({ limit, ...(after !== undefined && { after }) });
    yield* page;
    if (page.length < limit) return;
    after = page.at(-1)!.key;
    const characters = page.reduce((sum, { message }) => sum + message.data.length, 1);
    limit = Math.max(1, Math.min(PAGE, 4 * limit, Math.floor(limit * PAGE_CHARACTERS / characters)));
  }
}

/**
 * Returns what is due first.
 *
 * @param operator The domain.
 * @param limit The most to return.
 * @param isWhole Whether payloads come with them.
 */
export async function nextScheduled(
  operator: Pick<Operator, "store">,
  limit: number,
  isWhole: boolean,
): Promise<ScheduledMessage[]> {
  const found: ScheduledMessage[] = [];
  const order = () => found.sort((a, b) => a.dueAt - b.dueAt || (a.key < b.key ? -1 : 1)).splice(limit);
  for await (const one of allScheduled(operator)) {
    // Payloads may be large, and a table does not show them.
    const kept = isWhole ? one : { ...one, message: { ...one.message, data: "" } };
    if (found.push(kept) >= 2 * limit + PAGE) order();
  }
  order();
  return found;
}

/** What a change of a scheduled message has come to. */
export type ScheduleChange =
  | { readonly found: ScheduledMessage; readonly fault?: undefined }
  /** `absent`: there is none; `other`: it was sent or replaced meanwhile. */
  | { readonly found?: undefined; readonly fault: "absent" | "other" };

async function change(
  operator: Pick<Operator, "store">,
  key: string,
  changes: (found: ScheduledMessage) => Commit,
): Promise<ScheduleChange> {
  const first = await findScheduled(operator, key);
  for (let tries = 1;; tries++) {
    const found = tries === 1 ? first : await findScheduled(operator, key);
    if (!found) return { fault: "absent" };
    if (found.message.id !== first!.message.id) return { fault: "other" };
    const as = { key: found.key, dueAt: found.dueAt, id: found.message.id };
    try {
      await operator.store.commit({ release: [as], ...changes(found) });
      return { found };
    } catch (error) {
      // It was replaced or sent in between.
      if (!(error instanceof ScheduleChangedError) || tries === MOST_TRIES) throw error;
    }
  }
}

/** Sends a scheduled message at another time. */
export async function moveScheduled(
  operator: Pick<Operator, "store">,
  key: string,
  due: Due,
): Promise<ScheduleChange> {
  return await change(operator, key, ({ key, category, stream, message }) => ({
    schedule: [{ key, category, stream, message, due }],
  }));
}

/** Takes a message out of the schedule: it is not sent. */
export async function cancelScheduled(operator: Pick<Operator, "store">, key: string): Promise<ScheduleChange> {
  return await change(operator, key, () => ({}));
}
