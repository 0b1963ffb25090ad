import { type KnownTypes, knows, parseVersionName } from "../messages/known_types.ts";
import type { Checkpointer } from "./checkpointer.ts";
import { UnknownTypeError } from "./errors.ts";
import type { Complete } from "./options.ts";

/** What becomes of messages whose type or version this code does not know: in the middle of a deploy other code may. */
export class UnknownTypes {
  #options: Complete;
  #checkpointer: Checkpointer;
  /** Those of which it was reported that nobody knows them. */
  #reported = new Set<string>();

  /** Looks after one subscription. */
  constructor(options: Complete, checkpointer: Checkpointer) {
    this.#options = options;
    this.#checkpointer = checkpointer;
  }

  /**
   * Leaves the partition to a process whose code knows what is missing here; returns when there is none.
   *
   * @param names Versions of types, like `Deposited@2`.
   * @param position The first message that is concerned.
   * @throws {UnknownTypeError} When another process knows one of them.
   */
  async leaveToOthers(names: Iterable<string>, position: number): Promise<void> {
    const { store, owner, lacks, report, groupPartition: { group } } = this.#options;
    const members = owner === undefined ? [] : await store.members();
    for (const name of new Set(names)) {
      const { type, schemaVersion } = parseVersionName(name);
      lacks(name);
      const isKnown = members.some((member) =>
        member.owner !== owner && knows(new Map(Object.entries(member.types)) as KnownTypes, { type, schemaVersion })
      );
      const facts = { group, messageType: type, schemaVersion, position };
      if (isKnown) {
        await this.#checkpointer.flush();
        report({ type: "message.newer", ...facts });
        throw new UnknownTypeError(`Another process knows "${type}" version ${schemaVersion}`, name);
      }
      if (this.#reported.has(name)) continue;
      this.#reported.add(name);
      report({ type: "message.unknown", ...facts });
    }
  }
}
