/** Schemes whose URLs may have a token in place of a user: there is no name that would tell anything. */
const TOKENS = /^(rediss?|https?)$/i;

/** Parameters that may be secret. */
const SECRET = /([?&;][^=&;#]*(?:pass|pwd|secret|token|key|auth|sig|cred)[^=&;#]*=)[^&;#]*/gi;

/**
 * Masks what may be secret in a URL: password, token and parameters. Whatever is written there, it may not be valid.
 *
 * @param url The URL, or any text.
 * @returns The same with `***`.
 */
export function redactUrl(url: string): string {
  return url.replace(/([a-z][a-z0-9+.-]*)?:\/\/([\s\S]*)@/i, (_, scheme: string | undefined, who: string) => {
    const colon = who.indexOf(":");
    const user = colon >= 0 ? `${who.slice(0, colon)}:***` : TOKENS.test(scheme ?? "http") ? "***" : who;
    return `${scheme ?? ""}://${user}@`;
  }).replace(SECRET, "$1***");
}

/** Removes secrets and the query from a URL, for messages. */
export function withoutSecrets(url: string): string {
  return redactUrl(url).replace(/\?[\s\S]*$/, "");
}
