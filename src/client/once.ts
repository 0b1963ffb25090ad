import { createHash } from "node:crypto";
import type { CommandDraft } from "../domain/handlers.ts";
import { AnnalsError } from "../lib/annals_error.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { idFault } from "../messages/ids.ts";
import type { Commit } from "../store/port.ts";

/** Thrown when a key was used before for another command. Nothing was sent. */
export class IdempotencyKeyError extends AnnalsError {
  /** Always `IdempotencyKeyError`. */
  override readonly name = "IdempotencyKeyError";

  /**
   * Creates the error.
   *
   * @param message What was found, and what to do.
   * @param key The key.
   * @param commandId The command that it was used for.
   */
  constructor(message: string, readonly key: string, readonly commandId: string) {
    super(message);
  }
}

/** The command that a key stands for. */
interface Sent {
  readonly id: string;
  readonly aggregateId: string;
  /** Its type, and a hash of its payload; keys of earlier versions have none. */
  readonly type?: string;
  readonly hash?: string;
}

/** JSON text with the fields of objects in order, so that equal payloads have equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, part) =>
      typeof part === "object" && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1))
        : part,
  );
}

/** Sends a command once for each key. */
export class Once {
  #sent: Sent;
  #key: string | undefined;
  #domain: string;

  /**
   * @param domain The domain's name.
   * @param command The command.
   * @param id Its id, if it was not sent before.
   * @param key The key; without one, it is sent.
   * @throws {DomainDefinitionError} If the key cannot be one.
   */
  constructor(domain: string, { type, payload, aggregateId }: CommandDraft, id: string, key: string | undefined) {
    const fault = key === undefined ? null : idFault(key);
    if (fault !== null) throw new DomainDefinitionError(`Cannot use this idempotencyKey: ${fault}`);
    this.#domain = domain;
    this.#key = key;
    this.#sent = { id, aggregateId };
    if (key === undefined) return;
    // Without a target, each has an id of its own, and is the same command all the same.
    const hash = createHash("sha256").update(canonical(payload)).digest("base64url");
    this.#sent = { ...this.#sent, type, hash };
  }

  /** What the commit is to have. */
  get commit(): Pick<Commit, "once"> {
    if (this.#key === undefined) return {};
    return { once: { key: `${this.#domain}:command:${this.#key}`, value: JSON.stringify(this.#sent) } };
  }

  /**
   * Returns which command was sent, given the commit's answer.
   *
   * @param repeated The value of an earlier commit with the same key.
   * @throws {IdempotencyKeyError} If that was another command.
   */
  sent(repeated: string | null): { readonly id: string; readonly aggregateId: string; readonly repeated: boolean } {
    const { id, aggregateId, type, hash } = this.#sent;
    if (repeated === null) return { id, aggregateId, repeated: false };
    const before: Sent = JSON.parse(repeated);
    const isSame = before.hash === undefined || (before.type === type && before.hash === hash);
    if (isSame) return { id: before.id, aggregateId: before.aggregateId, repeated: true };
    throw new IdempotencyKeyError(
      `idempotencyKey "${this.#key}" was used for ${before.type} ${before.id}${
        before.type === type ? " with another payload" : `, and this is ${type}`
      }; use another key for another command`,
      this.#key!,
      before.id,
    );
  }
}
