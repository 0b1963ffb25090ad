import { adviceOnCertificate } from "../../lib/tls.ts";
import { DuplicateMessageError, StoreUnavailableError } from "../errors.ts";

/**
 * The constraint that proves of a part of the log that it has no row beyond its end, so that attaching it needs no scan.
 */
export const PART_END = "messages_part_end";

/** The code of our own error for a connection that was lost before something could be sent or committed. */
export const LOST_BEFORE = "CONNECTION_LOST_BEFORE";

/** The driver's error codes for a missing or lost connection. */
const DISCONNECTED = new Set([
  LOST_BEFORE,
  "CONNECTION_CLOSED",
  "CONNECTION_ENDED",
  "CONNECTION_DESTROYED",
  "CONNECT_TIMEOUT",
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "EPIPE",
  "ENOENT",
]);

/** Those that occur before anything was sent, or at least committed. */
const NEVER_SENT = new Set([
  LOST_BEFORE,
  "CONNECT_TIMEOUT",
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENOENT",
]);

type Reason = StoreUnavailableError["reason"];

interface Meaning {
  readonly reason: Reason;
  readonly retryable: boolean;
  /** The advice. */
  readonly advice: string;
}

/** Errors by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) or its class. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  "28P01": { reason: "denied", retryable: false, advice: "correct user and password in the URL" },
  "28000": { reason: "denied", retryable: false, advice: "correct the user, or allow it in pg_hba.conf" },
  "3D000": { reason: "missing", retryable: false, advice: "create the database (createdb), or correct the URL" },
  "42501": {
    reason: "denied",
    retryable: false,
    advice:
      "grant the role what it lacks, or let a role with those rights run `annals store migrate` and start with --no-migrate (docs/deploy.md lists the rights)",
  },
  "3F000": { reason: "missing", retryable: false, advice: "run `annals store migrate`" },
  "42P01": { reason: "missing", retryable: false, advice: "run `annals store migrate`" },
  "42883": { reason: "missing", retryable: false, advice: "run `annals store migrate`" },
  "53300": {
    reason: "busy",
    retryable: true,
    advice: "it has no free connection; raise max_connections or use a pooler",
  },
  "53100": { reason: "full", retryable: true, advice: "its disk is full; free space, nothing was written" },
  "53": { reason: "busy", retryable: true, advice: "it is short of resources, nothing was written" },
  "57014": { reason: "busy", retryable: true, advice: "it took longer than statement_timeout, nothing was written" },
  "25P03": {
    reason: "busy",
    retryable: true,
    advice: "this process did not run for seconds in the middle of a transaction, nothing was written",
  },
  "25006": {
    reason: "read-only",
    retryable: true,
    advice: "it is read-only: a standby, or default_transaction_read_only is on; nothing was written",
  },
  "40": { reason: "busy", retryable: true, advice: "it took back the transaction, nothing was written" },
  "55": { reason: "busy", retryable: true, advice: "it does not accept this now, nothing was written" },
  "55P03": { reason: "locked", retryable: true, advice: "another session holds a lock; look into pg_locks" },
  "57P02": { reason: "unsure", retryable: true, advice: "another session crashed, and it restarts" },
  "57P01": { reason: "unsure", retryable: true, advice: "it shuts down, or an administrator ended the connection" },
  "57": { reason: "unreachable", retryable: true, advice: "it is starting up or shutting down" },
  "08": { reason: "unsure", retryable: true, advice: "the connection broke" },
  "58": { reason: "failed", retryable: true, advice: "its disk failed; check its log" },
  "AN001": {
    reason: "diverged",
    retryable: true,
    advice: "it failed over or was recovered; this server reads again what it knew",
  },
  "XX001": { reason: "damaged", retryable: false, advice: "its data is damaged; restore a backup" },
};

/** The driver's error code, or SQLSTATE. */
export function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? "");
}

/** Whether an error says that a connection broke; the driver may not have noticed yet. */
export function isBroken(error: unknown): boolean {
  return /^(CONNECTION_(CLOSED|LOST_BEFORE)|CONNECT_TIMEOUT|ECONNRESET|EPIPE|ETIMEDOUT|57P0[12])$/.test(codeOf(error));
}

/**
 * Whether an error may keep any statement from being run: lost connections, a full disk, failover, conflicts. With all else
 * a statement fails by its own fault.
 */
export function mayBefallAny(error: unknown): boolean {
  return /^(08|25|40|53[123]00|57P|58030|XX00[12]|CONNECT|E[A-Z]+$|$)/.test(codeOf(error));
}

/** Whether an error concerns the data of one commit, so that the others of its call may succeed without it. */
export function isAboutData(error: unknown): boolean {
  if ((error as { constraint_name?: string } | null)?.constraint_name === PART_END) return false;
  return /^(2[23]|54)/.test(codeOf(error));
}

/** Whether a commit was refused because a row is not as it was read. */
export function isRowConflict(error: unknown): boolean {
  return codeOf(error) === "AN002";
}

/** Whether a key of idempotency was used by another process at the same time. */
export function isKeyTaken(error: unknown): boolean {
  return codeOf(error) === "23505" && (error as { constraint_name?: string }).constraint_name === "once_pkey";
}

/**
 * Explains an error of PostgreSQL and what to do about it.
 *
 * @param error The error.
 * @param location The location, without secrets.
 * @param writing Whether the operation was a write.
 * @returns The explained error, or the error itself if it comes from neither the driver nor PostgreSQL.
 */
export function explain(error: unknown, location: string, writing: boolean): unknown {
  const code = codeOf(error);
  const text = error instanceof Error ? error.message : String(error);
  if (DISCONNECTED.has(code)) {
    if (code === "CONNECTION_ENDED") {
      return new StoreUnavailableError(`Cannot use PostgreSQL at ${location}: it was closed`, "closed", false);
    }
    const lost = writing && !NEVER_SENT.has(code);
    const hint = /before secure TLS connection/.test(text)
      ? "; start it; if it is running, it does not support TLS: set ssl = on there, or remove sslmode from the URL"
      : "; start it, or correct the URL";
    return new StoreUnavailableError(
      lost
        ? `Lost the connection to PostgreSQL at ${location} before it answered`
        : `Cannot reach PostgreSQL at ${location} (${text})${hint}`,
      lost ? "unsure" : "unreachable",
      true,
    );
  }
  const advice = adviceOnCertificate(error);
  if (advice !== null) {
    return new StoreUnavailableError(`Cannot use PostgreSQL at ${location}: ${text}; ${advice}`, "denied", false);
  }
  const { constraint_name: constraint } = error as { constraint_name?: string };
  if (code === "23505" && constraint === "messages_id") {
    return new DuplicateMessageError(`A message with this id is stored already in PostgreSQL at ${location}`);
  }
  if (code === "23514" && constraint === PART_END) {
    return new StoreUnavailableError(
      `Cannot write to PostgreSQL at ${location}: the log has reached the end of a part, and \`annals store partition\` was interrupted; run it again, nothing is lost`,
      "locked",
      true,
    );
  }
  const meaning = MEANINGS[code] ?? MEANINGS[code.slice(0, 2)];
  if (!meaning) return error;
  const reason = meaning.reason === "unsure" && !writing ? "unreachable" : meaning.reason;
  return new StoreUnavailableError(
    `Cannot use PostgreSQL at ${location}: ${text}; ${meaning.advice}`,
    reason,
    meaning.retryable,
  );
}
