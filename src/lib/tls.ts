/** By what OpenSSL and Node.js call it (https://nodejs.org/api/tls.html#x509-certificate-error-codes). */
const UNTRUSTED =
  /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT|unable to verify the first certificate|unable to get (local )?issuer certificate|self.signed certificate|UnknownIssuer/i;
const WRONG_NAME = /ERR_TLS_CERT_ALTNAME_INVALID|does not match certificate's altnames|NotValidForName/i;
const WRONG_TIME = /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|certificate (has expired|is not yet valid)/i;

/**
 * Says what to do about a certificate that was not accepted.
 *
 * @param error What the connection ended with.
 * @returns What to do; `null` when it is about something else.
 */
export function adviceOnCertificate(error: unknown): string | null {
  const { code = "", message = String(error) } = (error ?? {}) as { code?: string; message?: string };
  const text = `${code} ${message}`;
  if (UNTRUSTED.test(text)) {
    return "nobody who is trusted here has signed its certificate: name the file of the authority in DENO_CERT, or --cert";
  }
  if (WRONG_NAME.test(text)) return "its certificate is for another host: correct the host in the URL";
  if (WRONG_TIME.test(text)) return "its certificate is not valid now: renew it, or correct the clock";
  return null;
}
