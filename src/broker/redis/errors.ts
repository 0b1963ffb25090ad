import { adviceOnCertificate } from "../../lib/tls.ts";
import { BrokerUnavailableError } from "../errors.ts";

/** What the first word of Redis' answer means, and what to do. */
const MEANINGS: Readonly<Record<string, { readonly retryable: boolean; readonly advice: string }>> = {
  NOAUTH: { retryable: false, advice: "it wants a password: put it into the URL, like redis://:PASSWORD@host:6379" },
  WRONGPASS: { retryable: false, advice: "correct user and password in the URL" },
  NOPERM: {
    retryable: false,
    advice: "grant the user +@stream +@scripting +@string +@set +info on its keys (docs/deploy.md has the ACL line)",
  },
  LOADING: { retryable: true, advice: "it is loading its data" },
  READONLY: { retryable: true, advice: "it is a replica: point the URL at the primary" },
  OOM: {
    retryable: true,
    advice: "its memory is full (maxmemory); raise it. Nothing is lost: the log keeps everything",
  },
  MISCONF: { retryable: true, advice: "it cannot save to its disk, and refuses writes; look into its log" },
  MASTERDOWN: { retryable: true, advice: "its primary is away" },
  CLUSTERDOWN: { retryable: true, advice: "its cluster is down" },
  TRYAGAIN: { retryable: true, advice: "its cluster moves slots" },
  BUSY: { retryable: true, advice: "a script keeps it busy" },
};

/** How the driver tells that there is no connection, or no longer. */
const DISCONNECTED =
  /ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|Connection is closed|max retries per request|MaxRetriesPerRequest|Stream isn't writeable|None of startup nodes|ClusterAllFailed|Failed to refresh slots|Command timed out|Socket timeout/i;

/** The first word of an error, like `NOGROUP`. */
export function wordOf(error: unknown): string {
  return /(?:^|\s)-?([A-Z]{3,})\b/.exec(error instanceof Error ? error.message : String(error))?.[1] ?? "";
}

/**
 * Says what an error of Redis means, and what to do.
 *
 * @param error What was thrown.
 * @param location Where it is, without secrets.
 * @param last The last error of the connection, which says more than that it is closed.
 * @returns The explained error, or the error itself when it is neither the driver's nor Redis'.
 */
export function explain(error: unknown, location: string, last?: Error): unknown {
  const text = error instanceof Error ? error.message : String(error);
  const meaning = MEANINGS[wordOf(error)];
  if (meaning) {
    return new BrokerUnavailableError(`Cannot use Redis at ${location}: ${text}; ${meaning.advice}`, meaning.retryable);
  }
  if (DISCONNECTED.test(`${text} ${(error as { code?: string })?.code ?? ""} ${(error as Error)?.name ?? ""}`)) {
    if (last && MEANINGS[wordOf(last)]) return explain(last, location);
    const why = last && last.message !== "" ? last.message : text;
    const advice = adviceOnCertificate(last);
    if (advice !== null) {
      return new BrokerUnavailableError(`Cannot use Redis at ${location}: ${why}; ${advice}`, false);
    }
    // A port that speaks TLS cuts off who does not, and the other way round nobody answers.
    const tls = location.startsWith("rediss:") ? " (rediss:// is for a port that speaks TLS)" : "";
    const hint = /ECONNRESET/.test(why) && tls === "" ? " (rediss:// when it wants TLS)" : tls;
    return new BrokerUnavailableError(
      `Cannot reach Redis at ${location} (${why}); start it, or correct the URL${hint}`,
      true,
    );
  }
  return error;
}
