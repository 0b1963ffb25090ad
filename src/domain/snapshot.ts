import { createHash } from "node:crypto";
import { DomainDefinitionError } from "../messages/errors.ts";
import { jsonFaults } from "../messages/json.ts";
import type { EventType } from "../messages/message_type.ts";

/** When the state of an aggregate is kept, so that it need not be folded from all its events. */
export interface SnapshotOptions {
  /** After how many events; from 1 on. */
  readonly every: number;
  /** The version of the state: raise it when code changes that `evolve` calls. Snapshots of another version are ignored. */
  readonly version: number;
  /**
   * How often a snapshot is compared with a fold of all events, like `1 in 1000`: a difference is logged as an error, and
   * the events count.
   *
   * @default {never}
   */
  readonly verify?: `1 in ${number}`;
}

/** When a state is kept, and which are taken. */
export interface SnapshotRule {
  /** After how many messages. */
  readonly every: number;
  /** Of the code: snapshots that were made by another are ignored. */
  readonly fingerprint: string;
  /** How often a snapshot is compared with a fold, from 0 to 1. */
  readonly verify: number;
}

/** Code that folds a state from events. */
export interface Folding {
  /** Whose state it is. */
  readonly name: string;
  /** The version of the code. */
  readonly version: number;
  /** The events. */
  readonly events: readonly EventType[];
  /** The state before the first event. */
  readonly initial: () => unknown;
  /** The functions. */
  readonly evolve: object;
}

/** Identifies code that folds a state, by its own text and the versions of what it folds. */
export function fingerprintOf({ name, version, events, initial, evolve }: Folding): string {
  const versions = events.map(({ type, version }) => `${type}@${version}`);
  const parts: unknown[] = [name, version, versions, initial, ...Object.entries(evolve).flat()];
  const text = parts.map((part) => typeof part === "object" ? JSON.stringify(part) : String(part)).join("\n");
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

/**
 * Checks when an aggregate is to be kept.
 *
 * @param name The aggregate's name.
 * @param options Its settings, from code that may not be typed.
 * @throws {DomainDefinitionError} If they are wrong, or the state cannot be kept.
 */
export function snapshotRule(
  name: string,
  { snapshot: { every, version, verify }, events, initial, evolve }: {
    readonly snapshot: SnapshotOptions;
    readonly events: readonly EventType[];
    readonly initial: () => unknown;
    readonly evolve: object;
  },
): SnapshotRule {
  const refuse = (fault: string) => new DomainDefinitionError(`Cannot define aggregate "${name}": ${fault}`);
  for (const [field, value] of Object.entries({ every, version })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw refuse(`"snapshot.${field}" is ${String(value)}; expected a whole number from 1 on`);
  }
  const [, share] = /^1 in ([1-9]\d{0,14})$/.exec(String(verify ?? "1 in 1")) ?? [];
  if (share === undefined) throw refuse(`"snapshot.verify" is ${JSON.stringify(verify)}; write it like "1 in 1000"`);
  const [fault] = jsonFaults(initial());
  if (fault) {
    throw refuse(
      `its state cannot be kept in a snapshot, because it is not JSON (${
        fault.path || "state"
      }: ${fault.message}); leave out "snapshot", or make the state plain`,
    );
  }
  const fingerprint = fingerprintOf({ name, version, events, initial, evolve });
  return Object.freeze({ every, fingerprint, verify: verify === undefined ? 0 : 1 / Number(share) });
}
