import { adviceOnCertificate } from "../../lib/tls.ts";
import { BrokerUnavailableError } from "../errors.ts";

/** Meaning and advice by the first word of a Redis error. */
const MEANINGS: Readonly<Record<string, { readonly retryable: boolean; readonly advice: string }>> = {
  NOAUTH: { retryable: false, advice: "it requires a password: add it to the URL, like redis://:PASSWORD@host:6379" },
  WRONGPASS: { retryable: false, advice: "correct user and password in the URL" },
  NOPERM: {
    retryable: false,
    advice:
      "grant the user +@connection +@stream +@scripting +@string +@set +info on its keys (docs/deploy.md has the ACL line)",
  },
  LOADING: { retryable: true, advice: "it is loading its data" },
  READONLY: { retryable: true, advice: "it is a replica: point the URL at the primary" },
  OOM: {
    retryable: true,
    advice: "its memory is full (maxmemory); raise it. Nothing is lost: the log keeps everything",
  },
  MISCONF: { retryable: true, advice: "it cannot save to disk and refuses writes; check its log" },
  MASTERDOWN: { retryable: true, advice: "its primary is unreachable" },
  CLUSTERDOWN: { retryable: true, advice: "its cluster is down" },
  TRYAGAIN: { retryable: true, advice: "its cluster is migrating slots" },
  NOREPLICAS: { retryable: true, advice: "it has fewer replicas than min-replicas-to-write" },
  WRONGTYPE: {
    retryable: true,
    advice:
      'a key that Annals needs holds something else; delete it, or give Annals a prefix: [brokers.default] prefix = "…"',
  },
  BUSY: { retryable: true, advice: "it is busy running a script" },
};

/** The driver's errors for a missing or lost connection. */
const DISCONNECTED =
  /ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|Connection is closed|max retries per request|MaxRetriesPerRequest|Stream isn't writeable|None of startup nodes|ClusterAllFailed|Failed to refresh slots|Too many Cluster redirections|Command timed out|Socket timeout/i;

/** Returns the first word of an error, like `NOGROUP`. */
export function wordOf(error: unknown): string {
  return /(?:^|\s)-?([A-Z]{3,})\b/.exec(error instanceof Error ? error.message : String(error))?.[1] ?? "";
}

/**
 * Explains an error of Redis and what to do about it.
 *
 * @param error The error.
 * @param location The location, without secrets.
 * @param last The last error of the connection, which is more specific than that it is closed.
 * @returns The explained error, or the error itself if it comes from neither the driver nor Redis.
 */
export function explain(error: unknown, location: string, last?: Error): unknown {
  const text = error instanceof Error ? error.message : String(error);
  const meaning = MEANINGS[wordOf(error)];
  if (meaning) {
    return new BrokerUnavailableError(`Cannot use Redis at ${location}: ${text}; ${meaning.advice}`, meaning.retryable);
  }
  if (DISCONNECTED.test(`${text} ${(error as { code?: string })?.code ?? ""} ${(error as Error)?.name ?? ""}`)) {
    if (last && MEANINGS[wordOf(last)]) return explain(last, location);
    if (last && /cluster support disabled/.test(last.message)) {
      return new BrokerUnavailableError(
        `Cannot use Redis at ${location}: ${last.message}; it is no cluster: remove ?cluster=true from the URL`,
        false,
      );
    }
    const said = last && last.message !== "" ? last.message : text;
    const why = /max retries per request/i.test(said) ? "not connected" : said;
    const advice = adviceOnCertificate(last);
    if (advice !== null) {
      return new BrokerUnavailableError(`Cannot use Redis at ${location}: ${why}; ${advice}`, false);
    }
    // A TLS port closes plain connections; a plain port does not respond to TLS.
    const tls = location.startsWith("rediss:") ? " (rediss:// requires a TLS port)" : "";
    const hint = /ECONNRESET/.test(why) && tls === "" ? " (use rediss:// if it requires TLS)" : tls;
    return new BrokerUnavailableError(
      `Cannot reach Redis at ${location} (${why}); start it, or correct the URL${hint}`,
      true,
    );
  }
  if (/DB index is out of range/.test(text)) {
    return new BrokerUnavailableError(
      `Cannot use Redis at ${location}: it has no database of that number (the number is the path of the URL); ` +
        `use a lower one, or raise "databases" in its configuration`,
      false,
    );
  }
  // Whatever else Redis refuses: the log has everything, and groups read it meanwhile.
  if ((error as Error | null)?.name === "ReplyError") {
    return new BrokerUnavailableError(`Redis at ${location} refused a command: ${text}`, true);
  }
  return error;
}
