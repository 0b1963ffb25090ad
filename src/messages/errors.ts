import { AnnalsError } from "../lib/annals_error.ts";

/** A fault in a value. */
export interface Fault {
  /** The path to the faulty part, like `lines[2].price`; empty for the value itself. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
}

function list(faults: readonly Fault[]): string {
  return faults.map((fault) => `${fault.path === "" ? "(payload)" : fault.path}: ${fault.message}`).join("; ");
}

/** Thrown when a payload does not match its schema or is not JSON. Nothing was stored. */
export class PayloadError extends AnnalsError {
  /** Always `PayloadError`. */
  override readonly name = "PayloadError";

  /** Always 2: wrong usage. */
  override readonly exitCode = 2;

  /**
   * Creates the error.
   *
   * @param type The message type of the payload.
   * @param faults The faults and their locations.
   */
  constructor(readonly type: string, readonly faults: readonly Fault[]) {
    super(`Payload of "${type}" is refused: ${list(faults)}`);
  }
}

/** Thrown when this code cannot decode a stored message: damaged, of an unknown type or of a newer version. */
export class UndecodableMessageError extends Error {
  /** Always `UndecodableMessageError`. */
  override readonly name = "UndecodableMessageError";

  /**
   * Creates the error.
   *
   * @param reason Why it cannot be decoded.
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

/** Thrown when a domain is defined incorrectly, mostly while its module loads. */
export class DomainDefinitionError extends AnnalsError {
  /** Always `DomainDefinitionError`. */
  override readonly name = "DomainDefinitionError";
}
