import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { fromBase64Url, toBase64Url } from "../lib/base64url.ts";

/** How long a session lasts, in milliseconds. */
export const SESSION_LIFE = 12 * 3_600_000;

/** Someone who has logged in. */
export interface Session {
  /** Who. */
  readonly who: string;
  /** What requests that change something have to repeat, which only pages of this server know. */
  readonly csrf: string;
}

/** Whether two texts are equal, in a time that does not tell how much of them is. */
export function isEqual(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/**
 * Sessions without a memory: a cookie says who someone is, and until when, and is signed. With secrets, all servers that
 * have the same ones know it; a changed password or token ends all sessions.
 */
export class Sessions {
  #key: Uint8Array;
  #now: () => number;

  /**
   * @param secrets What the key is derived from; none: a key that only this process has.
   * @param now Returns the time, in milliseconds since 1970.
   */
  constructor(secrets: readonly string[], now: () => number = Date.now) {
    this.#now = now;
    this.#key = secrets.length === 0
      ? randomBytes(32)
      : createHmac("sha256", "annals sessions").update(JSON.stringify(secrets)).digest();
  }

  #sign(text: string): string {
    return createHmac("sha256", this.#key).update(text).digest("base64url");
  }

  /** Begins a session; returns the value of its cookie. */
  begin(who: string): string {
    const body = toBase64Url(JSON.stringify([who, this.#now() + SESSION_LIFE, randomBytes(16).toString("base64url")]));
    return `${body}.${this.#sign(body)}`;
  }

  /** Reads the value of a cookie; `null` if it is not one of ours, or is over. */
  read(cookie: string | undefined): Session | null {
    const [body, signature, ...rest] = (cookie ?? "").split(".");
    if (!body || !signature || rest.length > 0 || !isEqual(signature, this.#sign(body))) return null;
    const [who, until] = JSON.parse(fromBase64Url(body)) as [string, number, string];
    return until > this.#now() ? { who, csrf: this.#sign(`csrf ${body}`) } : null;
  }
}
