import { isOfCommands } from "../messages/envelope.ts";
import { type Sender, senderOf } from "../messages/sender.ts";
import { type DeadLetter, REPLAY } from "../store/port.ts";
import type { Operator } from "./operator.ts";

/** Most characters of a page of dead letters, most of them, and how many are read first. */
const PAGE_CHARACTERS = 4_000_000;
const LONGEST_PAGE = 500;
const FIRST_PAGE = 4;

/** How long reading a page is to take, in milliseconds: to leave out a large payload takes SQLite 70 ms, in the engine's thread. */
const PAGE_TIME = 50;

/** How long a list is read before it is returned as far as it is, in milliseconds. */
const LIST_PATIENCE = 1_000;

/** How many dead letters are handed back in one transaction. */
const REPLAYED_TOGETHER = 5_000;

/** How many dead letters are looked through for one page of a filtered list. */
const MOST_SEARCHED = 5_000;

/** Payloads of more bytes do not come with a list. */
const LISTED = 2_000;

/** Which dead letters are meant. */
export interface DeadLetterFilter {
  /** Those of one group. @default {of all} */
  readonly group?: string;
  /** What is in the type, stream, reason, error, id or correlation id, in capitals or not. @default {anything} */
  readonly text?: string;
}

/** A part of a list of dead letters. */
export interface DeadLetterPage {
  /** The newest first; large payloads are left out. */
  readonly letters: readonly DeadLetter[];
  /** From which one the list goes on; `null` if there are no more. */
  readonly next: string | null;
}

/**
 * Goes through dead letters, newest first, a page at a time: their messages may be large.
 *
 * @param operator The domain.
 * @param options Of which group, and how many.
 */
export async function* eachDeadLetter(
  { store }: Pick<Operator, "store">,
  { group, limit = Infinity, largest, before: from }: {
    readonly group?: string;
    readonly limit?: number;
    readonly before?: string;
    readonly largest?: number;
  },
): AsyncGenerator<DeadLetter> {
  let [page, before, left] = [FIRST_PAGE, from, limit];
  while (left > 0) {
    const most = Math.min(page, left);
    const began = performance.now();
    const found = await store.deadLetters({
      limit: most,
      ...(group !== undefined && { group }),
      ...(before !== undefined && { before }),
      ...(largest !== undefined && { largest }),
    });
    const took = performance.now() - began;
    yield* found;
    if (found.length < most) return;
    // An embedded store answers at once: whoever goes through all of them leaves others their turns.
    await new Promise((resolve) => setTimeout(resolve));
    left -= most;
    before = found.at(-1)!.id;
    const characters = found.reduce((sum, { message, stack }) => sum + message.data.length + (stack?.length ?? 0), 1);
    const fitting = most * Math.min(PAGE_CHARACTERS / characters, PAGE_TIME / Math.max(took, 1));
    page = Math.max(1, Math.min(LONGEST_PAGE, 4 * page, Math.floor(fitting)));
  }
}

function matches({ id, reason, error, message }: DeadLetter, text: string): boolean {
  const { type, stream, correlationId } = message;
  return [id, type, stream, reason, error, message.id, correlationId].some((one) => one.toLowerCase().includes(text));
}

/**
 * Returns a page of dead letters. A filter by text looks through a bounded number of them, and nobody waits long for large ones: a
 * page may be short, or empty, and the list go on all the same.
 *
 * @param operator The domain.
 * @param filter Which ones.
 * @param page Behind which one to go on, and how many to return.
 */
export async function deadLetterPage(
  operator: Pick<Operator, "store">,
  { group, text = "" }: DeadLetterFilter,
  { before, limit }: { readonly before?: string; readonly limit: number },
): Promise<DeadLetterPage> {
  const wanted = text.toLowerCase();
  const letters: DeadLetter[] = [];
  let [searched, next] = [0, null as string | null];
  const most = wanted === "" ? limit : MOST_SEARCHED;
  const until = performance.now() + LIST_PATIENCE;
  for await (
    const letter of eachDeadLetter(operator, {
      limit: most + 1,
      largest: LISTED,
      ...(group !== undefined && { group }),
      ...(before !== undefined && { before }),
    })
  ) {
    // There is one more.
    if (letters.length === limit || searched === most) return { letters, next };
    if (searched > 0 && performance.now() > until) return { letters, next };
    searched++;
    next = letter.id;
    if (wanted === "" || matches(letter, wanted)) letters.push(letter);
  }
  return { letters, next: null };
}

/**
 * Returns the instance of a process that has acted on it that a command was given up: to do it now may be to do what was undone.
 * What undoes a step of an instance is for that to go on.
 */
export function toldOf({ message }: Pick<DeadLetter, "message">): Sender | null {
  const sender = isOfCommands(message.category) ? senderOf(message.metadata) : null;
  return sender?.all ? null : sender;
}

/** What a replay has come to. */
export interface Replayed {
  /** How many dead letters were handed back to their groups. */
  readonly replayed: number;
  /** How many were left: a process was told that the command was given up, and may have undone it. */
  readonly left: number;
}

/**
 * Hands dead letters back to the groups that failed, and only to them; the oldest first.
 *
 * @param operator The domain.
 * @param which By their ids, or all that a filter selects.
 * @param options `isAnyway`: also commands that a process was told were given up.
 */
export async function replayDeadLetters(
  operator: Pick<Operator, "store">,
  which: { readonly ids: readonly string[] } | DeadLetterFilter,
  { isAnyway = false }: { readonly isAnyway?: boolean } = {},
): Promise<Replayed> {
  const ids: string[] = [];
  let left = 0;
  const add = (letter: DeadLetter): void => {
    if (toldOf(letter) !== null && !isAnyway) left++;
    else ids.push(letter.id);
  };
  if ("ids" in which) {
    // The newest first, like those that are selected.
    for (const id of [...new Set(which.ids)].sort().reverse()) {
      const letter = await operator.store.deadLetter(id);
      if (letter) add(letter);
    }
  } else {
    const { group, text = "" } = which;
    const wanted = text.toLowerCase();
    for await (const letter of eachDeadLetter(operator, { largest: LISTED, ...(group !== undefined && { group }) })) {
      if (wanted === "" || matches(letter, wanted)) add(letter);
    }
  }
  ids.reverse();
  let replayed = 0;
  while (ids.length > 0) replayed += await operator.store.replayDeadLetters(ids.splice(0, REPLAYED_TOGETHER));
  return { replayed, left };
}

/** How many instances stay set aside of a group, whose dead letters are purged. */
export async function setAsideIn({ store }: Pick<Operator, "store">, group: string): Promise<number> {
  const counts = await store.countDeferred();
  return counts.filter((one) => one.group === group && one.awaits === REPLAY).reduce(
    (sum, { count }) => sum + count,
    0,
  );
}
