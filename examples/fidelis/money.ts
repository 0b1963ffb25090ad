import { DomainRuleError } from "@annals/annals";
import { z } from "zod";

/** An amount in minor units: 12345 is 123.45. Never a float. */
export const cents = z.int().min(0);

/** The one currency of this ledger. */
export const CURRENCY = "EUR";

/** Formats minor units: 50000 is `500.00`. */
export function formatMoney(amount: number): string {
  const digits = String(Math.abs(amount)).padStart(3, "0");
  return `${amount < 0 ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

/**
 * Parses an amount as typed by people: `500`, `500.5`, `500.00`.
 *
 * @throws {DomainRuleError} If it is not an amount.
 */
export function parseMoney(text: string): number {
  const match = /^(\d{1,12})(?:\.(\d{1,2}))?$/.exec(text.trim());
  if (!match) throw new DomainRuleError("amount", `"${text}" is not an amount; write it like 500.00`);
  return Number(match[1]) * 100 + Number((match[2] ?? "").padEnd(2, "0"));
}
