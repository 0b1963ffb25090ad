import { AnnalsError } from "../lib/annals_error.ts";
import type { Fault } from "./json.ts";

function list(faults: readonly Fault[]): string {
  return faults.map((fault) => `${fault.path === "" ? "(payload)" : fault.path}: ${fault.message}`).join("; ");
}

/** A payload does not fit its schema, or is not JSON. Nothing was stored. */
export class PayloadError extends AnnalsError {
  /** Always `PayloadError`. */
  override readonly name = "PayloadError";

  /** Always 2: wrong usage. */
  override readonly exitCode = 2;

  /**
   * Makes the error.
   *
   * @param type The message type whose payload was refused.
   * @param faults What is wrong, and where.
   */
  constructor(readonly type: string, readonly faults: readonly Fault[]) {
    super(`Payload of "${type}" is refused: ${list(faults)}`);
  }
}

/** A stored message cannot be understood by this code: damaged, of an unknown type or of a newer version. */
export class UndecodableMessageError extends Error {
  /** Always `UndecodableMessageError`. */
  override readonly name = "UndecodableMessageError";

  /**
   * Makes the error.
   *
   * @param reason Why it cannot be understood.
   * @param detail What was found, as a sentence.
   * @param awaits The version of a type, like `Deposited@2`, that newer code may know; `null` if no code will help.
   */
  constructor(
    readonly reason: "unknown type" | "newer version" | "damaged" | "upcast failed",
    detail: string,
    readonly awaits: string | null = null,
  ) {
    super(detail);
  }
}

/** The domain is put together wrongly: found when the module loads, before anything runs. */
export class DomainDefinitionError extends AnnalsError {
  /** Always `DomainDefinitionError`. */
  override readonly name = "DomainDefinitionError";
}
