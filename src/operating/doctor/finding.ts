import type { Inspectable } from "../../adapters/open.ts";
import type { Broker } from "../../broker/port.ts";
import type { Config } from "../../config/config.ts";
import type { DomainDescription } from "../../isolation/protocol.ts";
import type { EventStore } from "../../store/port.ts";

/**
 * How much a finding matters. `error`: something does not work, or data is at risk; somebody has to act. `warning`: it works, and
 * will not always. `note`: worth knowing.
 */
export type Severity = "error" | "warning" | "note";

/** Something that was found. */
export interface Finding {
  /** How much it matters. */
  readonly severity: Severity;
  /** What was found. */
  readonly what: string;
  /** Where: a file and key, a service, a group. */
  readonly where: string;
  /** What to do: a command where there is one. */
  readonly todo: string;
}

/** What checks look at. What could not be opened is `null`: why is a finding of its own. */
export interface Patient {
  /** The configuration. */
  readonly config: Config;
  /** The name of the domain; `null` if it is not known. */
  readonly name: string | null;
  /** The domain, as its code describes it. */
  readonly domain: DomainDescription | null;
  /** Its store, for reading. */
  readonly store: (EventStore & Inspectable) | null;
  /** Its broker. */
  readonly broker: (Broker & Inspectable) | null;
}

/** A part of the patient that a check cannot do without. */
export type Need = "domain" | "store" | "broker";

/** What a check looks at: what it needs is there. */
export type Examined<N extends Need = never> = Patient & { readonly [K in N]: NonNullable<Patient[K]> };

/** A check. It changes nothing. */
export interface Check {
  /** Its name. */
  readonly name: string;
  /** What it cannot do without; it is left out if that is not there. */
  readonly needs: readonly Need[];
  /** Looks. */
  readonly run: (patient: Patient) => Promise<Finding[]>;
}

/** Defines a check that finds what it needs. */
export function check<const N extends Need = never>(
  name: string,
  needs: readonly N[],
  run: (patient: Examined<N>) => Promise<Finding[]>,
): Check {
  return { name, needs, run: (patient) => run(patient as Examined<N>) };
}

/** How the configuration's file is called in a finding. */
export function fileOf({ file }: Config): string {
  return file ?? "domain.toml";
}

/** Spells a number of things. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
