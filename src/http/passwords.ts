import { Buffer } from "node:buffer";
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { Semaphore } from "../lib/semaphore.ts";

/** The cost of scrypt: 32 MiB and about a tenth of a second (OWASP Password Storage Cheat Sheet). */
const COST = { N: 1 << 15, r: 8, p: 3 } as const;

const KEY_BYTES = 32;
const SALT_BYTES = 16;

/** The most memory that a hash from a file may ask for, in bytes. */
const MOST_MEMORY = 256 << 20;

/** Each takes tens of MiB: whoever tries many at once waits. */
const turns = new Semaphore(2);

function derive(
  password: string,
  salt: Uint8Array,
  N: number,
  r: number,
  p: number,
  bytes: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    scrypt(password.normalize("NFC"), salt, bytes, { N, r, p, maxmem: MOST_MEMORY }, (error, key) => {
      if (error) reject(error);
      else resolve(key);
    })
  );
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}

/**
 * Hashes a password.
 *
 * @param password The password.
 * @returns What goes into `[server.http.users]`.
 */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const { N, r, p } = COST;
  return ["scrypt", N, r, p, toText(salt), toText(await derive(password, salt, N, r, p, KEY_BYTES))].join(":");
}

/**
 * Checks a password, in a time that does not tell how much of it is right.
 *
 * @param password What was given.
 * @param hash What {@linkcode hashPassword} has returned; `undefined` for a user that there is not, which takes as long.
 */
export async function isPassword(password: string, hash: string | undefined): Promise<boolean> {
  const [, N, r, p, salt, key] = (hash ?? UNKNOWN).split(":");
  const expected = Buffer.from(key, "base64url");
  try {
    const derived = await turns.run(() =>
      derive(password, Buffer.from(salt, "base64url"), Number(N), Number(r), Number(p), expected.length)
    );
    return timingSafeEqual(derived, expected) && hash !== undefined;
  } catch {
    // A hash that was written by hand.
    return false;
  }
}

/** No password has this hash. */
const UNKNOWN = [
  "scrypt",
  COST.N,
  COST.r,
  COST.p,
  toText(new Uint8Array(SALT_BYTES)),
  toText(new Uint8Array(KEY_BYTES)),
]
  .join(":");
