import { AnnalsError } from "../lib/annals_error.ts";
import { read } from "../messages/thrown.ts";

/** See {@linkcode refusalOf}. */
const REFUSAL: unique symbol = Symbol.for("annals.refusal") as never;

/**
 * Thrown by a handler to refuse a command that breaks a domain rule. Nothing is written, and the command is not
 * retried.
 *
 * @example Refusing a command
 * ```ts
 * import { DomainRuleError } from "@annals/annals";
 *
 * const refusal = new DomainRuleError("amount", "must be positive");
 * console.log(refusal.message); // amount: must be positive
 * ```
 */
export class DomainRuleError extends AnnalsError {
  /** Marks refusals across copies of this module, since a domain may import another copy. */
  readonly [REFUSAL] = true;
  /** Always `DomainRuleError`. */
  override readonly name = "DomainRuleError";

  /**
   * Creates the error.
   *
   * @param field The field or aggregate that the rule concerns.
   * @param rule The rule, in words.
   */
  constructor(readonly field: string, readonly rule: string) {
    super(`${field}: ${rule}`);
  }
}

/**
 * Recognises a refusal among thrown values, also from another copy of this module, but never by its name.
 *
 * @param thrown The thrown value.
 * @returns The refusal; `null` for any other value.
 */
export function refusalOf(thrown: unknown): Pick<DomainRuleError, "field" | "rule" | "message"> | null {
  if (read(thrown, REFUSAL) !== true) return null;
  const [field, rule, message] = ["field", "rule", "message"].map((name) => String(read(thrown, name)));
  return { field, rule, message };
}
