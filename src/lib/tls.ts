/** Matched by the error codes of OpenSSL and Node.js (https://nodejs.org/api/tls.html#x509-certificate-error-codes). */
const UNTRUSTED =
  /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT|unable to verify the first certificate|unable to get (local )?issuer certificate|self.signed certificate|UnknownIssuer/i;
const WRONG_NAME = /ERR_TLS_CERT_ALTNAME_INVALID|does not match certificate's altnames|NotValidForName/i;
const WRONG_TIME = /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|certificate (has expired|is not yet valid)/i;

/**
 * Explains what to do about a rejected certificate.
 *
 * @param error The connection error.
 * @returns The advice; `null` if the error has another cause.
 */
export function adviceOnCertificate(error: unknown): string | null {
  const { code = "", message = String(error) } = (error ?? {}) as { code?: string; message?: string };
  const text = `${code} ${message}`;
  if (UNTRUSTED.test(text)) {
    return "its certificate is not signed by a trusted CA: set DENO_CERT or --cert to the CA file";
  }
  if (WRONG_NAME.test(text)) return "its certificate was issued for another host: correct the host in the URL";
  if (WRONG_TIME.test(text)) return "its certificate has expired or is not yet valid: renew it, or correct the clock";
  return null;
}
