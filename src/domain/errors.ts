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
export class DomainRuleError extends Error {
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
