import { within } from "../../lib/within.ts";
import { textOf } from "../../messages/thrown.ts";
import { CLOCK } from "./clock.ts";
import { CONFIGURATION, FITTING } from "./configuration.ts";
import { FILES, SECRETS } from "./files.ts";
import type { Check, Finding, Patient } from "./finding.ts";
import { GROUPS, LEASES, STRANGERS } from "./groups.ts";
import { PROJECTIONS } from "./projections.ts";
import { RUNTIME } from "./runtime.ts";
import { BROKER, STORE } from "./services.ts";
import { LOG, OUTBOX, SCHEDULE } from "./work.ts";

/** All checks, in the order in which they are made. */
export const CHECKS: readonly Check[] = [
  RUNTIME,
  CONFIGURATION,
  SECRETS,
  FITTING,
  FILES,
  STORE,
  BROKER,
  CLOCK,
  LOG,
  GROUPS,
  LEASES,
  STRANGERS,
  OUTBOX,
  SCHEDULE,
  PROJECTIONS,
];

/** How long a check may take, in milliseconds. */
const PATIENCE = 20_000;

/** What a check has come to. */
export interface Examination {
  /** The check. */
  readonly check: string;
  /** Whether it could be made; `false` if what it needs is not there. */
  readonly isMade: boolean;
  /** What was found. */
  readonly findings: readonly Finding[];
}

const RANK = { error: 0, warning: 1, note: 2 } as const;

/** Sorts findings: what matters most first. */
export function bySeverity(findings: readonly Finding[]): Finding[] {
  return [...findings].sort((a, b) => RANK[a.severity] - RANK[b.severity]);
}

/**
 * Makes all checks. It changes nothing; one that fails is a finding.
 *
 * @param patient What to look at.
 * @param checks The checks.
 */
export async function examine(patient: Patient, checks: readonly Check[] = CHECKS): Promise<Examination[]> {
  const made: Examination[] = [];
  for (const { name, needs, run } of checks) {
    const isMade = needs.every((need) => patient[need] !== null);
    made.push({ check: name, isMade, findings: isMade ? await attempt(name, () => run(patient)) : [] });
  }
  return made;
}

async function attempt(name: string, run: () => Promise<Finding[]>): Promise<readonly Finding[]> {
  const failed = (what: string): Finding[] => [
    {
      severity: "error",
      what,
      where: `check of ${name}`,
      todo: "see what it says; run this again when the service answers",
    },
  ];
  try {
    return await within(PATIENCE, run()) ?? failed(`It has not ended after ${PATIENCE / 1_000} s`);
  } catch (error) {
    return failed(`It could not be made: ${textOf(error)}`);
  }
}
