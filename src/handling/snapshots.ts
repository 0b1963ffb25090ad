import { isDeepStrictEqual } from "node:util";
import { deepFreeze } from "../domain/freeze.ts";
import type { SnapshotRule } from "../domain/snapshot.ts";
import { isLonger, jsonFaults, LONGEST_JSON } from "../messages/json.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import type { Snapshot } from "../store/port.ts";
import type { Reading } from "./batch.ts";
import type { Folded } from "./state_cache.ts";

/** How a state is folded. */
export interface Fold<State> {
  /** The state before the first message. */
  readonly initial: () => State;
  /** Applies messages to a state. */
  readonly apply: (state: State, records: readonly MessageRecord[]) => State | Promise<State>;
  /** When it is snapshotted; `null`: never. */
  readonly rule: SnapshotRule | null;
  /** The state as JSON, for those that are none themselves. @default {itself} */
  readonly pack?: (state: State) => unknown;
  /** A state of that. @default {itself} */
  readonly unpack?: (packed: any) => State;
}

/**
 * Folds a state from a stream: from what is known of it, from a snapshot, or from all its messages.
 *
 * @param reading What to read from.
 * @param stream The stream.
 * @param fold How.
 * @param known What is known of it.
 */
export async function foldStream<State>(
  { readStream, readSnapshot, random = Math.random, complain = () => {} }: Reading,
  stream: string,
  { initial, apply, rule, unpack = (packed) => deepFreeze(packed) }: Fold<State>,
  known?: Folded<State>,
): Promise<Folded<State>> {
  const onto = async (from: Folded<State>, records: readonly MessageRecord[]): Promise<Folded<State>> => ({
    state: await apply(from.state, records),
    version: records.at(-1)?.version ?? from.version,
    message: records.at(-1)?.id ?? from.message,
    snapshot: from.snapshot,
  });
  const anew = async (): Promise<Folded<State>> =>
    await onto({ state: initial(), version: -1, message: null, snapshot: -1 }, await readStream(stream, 0));
  if (known) return await onto(known, await readStream(stream, known.version + 1));
  const found = rule && await readSnapshot?.(stream, rule.fingerprint);
  if (!found) return await anew();
  const { version, message } = found;
  // With the last message that is in it: a stream that was set back has none there, or another one.
  const records = await readStream(stream, version);
  if (records[0]?.id !== message) return await anew();
  const kept = { state: unpack(JSON.parse(found.state)), version, message, snapshot: version };
  const quick = await onto(kept, records.slice(1));
  if (random() >= rule.verify) return quick;
  const all = await anew();
  const isSame = isDeepStrictEqual(JSON.parse(JSON.stringify(quick.state)), JSON.parse(JSON.stringify(all.state)));
  if (isSame) return quick;
  complain(
    `The snapshot of "${stream}" at version ${version} differs from its events, which count: its state is not what evolve makes of them. If evolve has changed, raise the snapshot's version`,
  );
  return all;
}

/** Whether a snapshot is due. */
export function isDue(
  rule: SnapshotRule | null,
  { version, snapshot }: Pick<Folded<unknown>, "version" | "snapshot">,
): rule is SnapshotRule {
  return rule !== null && version - snapshot >= rule.every;
}

/**
 * Returns the snapshot of a state that is due; `null` if it cannot be kept.
 *
 * @param reading Says how long it may be, and takes the reason why there can be none.
 * @param stream The stream.
 * @param fold How the state is folded.
 * @param folded The state.
 */
export function snapshotOf<State>(
  { longest = LONGEST_JSON, complain = () => {} }: Reading,
  stream: string,
  { rule, pack = (state) => state }: Pick<Fold<State>, "rule" | "pack">,
  { state, version, message }: Omit<Folded<State>, "snapshot">,
): Snapshot | null {
  if (!rule || message === null) return null;
  const packed = pack(state);
  const [fault] = jsonFaults(packed);
  const text = fault ? "" : JSON.stringify(packed);
  if (!fault && !isLonger(text, longest)) {
    return { stream, version, message, fingerprint: rule.fingerprint, state: text };
  }
  complain(
    `There can be no snapshot of "${stream}": its state ${
      fault ? `is not JSON (${fault.path}: ${fault.message})` : `has more than max_message_bytes = ${longest}`
    }; leave out "snapshot", or make the state plain`,
  );
  return null;
}
