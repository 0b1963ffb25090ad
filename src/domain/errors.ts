import { AnnalsError } from "../lib/annals_error.ts";
import { read } from "../messages/thrown.ts";

/** See {@linkcode refusalOf}. */
const REFUSAL: unique symbol = Symbol.for("annals.refusal") as never;

/**
 * A command broke a rule of the domain: it is refused, nothing is written, and trying again would not help.
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
  /** Marks refusals of every copy of this module: a domain may have been written against another one. */
  readonly [REFUSAL] = true;
  /** Always `DomainRuleError`. */
  override readonly name = "DomainRuleError";

  /**
   * Makes the error.
   *
   * @param field The field, or the aggregate, that the rule is about.
   * @param rule The rule, in words.
   */
  constructor(readonly field: string, readonly rule: string) {
    super(`${field}: ${rule}`);
  }
}

/**
 * Takes what a handler threw for a refusal, if it is one: also of another copy of this module, and never by its name.
 *
 * @param thrown What was thrown.
 * @returns The refusal; `null` for everything else.
 */
export function refusalOf(thrown: unknown): Pick<DomainRuleError, "field" | "rule" | "message"> | null {
  if (read(thrown, REFUSAL) !== true) return null;
  const [field, rule, message] = ["field", "rule", "message"].map((name) => String(read(thrown, name)));
  return { field, rule, message };
}
