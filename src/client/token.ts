import { fromBase64Url, toBase64Url } from "../lib/base64url.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { idFault } from "../messages/ids.ts";

/**
 * Up to where the log has to be handled for someone to see what they did: text that can go through a cookie, a header or a
 * URL. What is in it is nobody's contract.
 */
export type Token = string;

/** What a token stands for. */
export interface Place {
  /** The log. */
  readonly log: string;
  /** The position. */
  readonly position: number;
  /** A command that may not be decided yet: its events count. */
  readonly command?: string;
}

/** The part of a log's id that does not change when a database fails over. */
function lasting(log: string): string {
  return log.split("/")[0];
}

/** Encodes a place in the log. */
export function encodeToken({ log, position, command }: Place): Token {
  return toBase64Url([lasting(log), position, ...(command === undefined ? [] : [command])].join("~"));
}

/**
 * Decodes a token.
 *
 * @param token What was passed for one.
 * @param log The log that it has to be of.
 * @returns The place.
 * @throws {DomainDefinitionError} If it is no token, or one of another log.
 */
export function decodeToken(token: unknown, log: string): Place {
  let parts: string[] = [];
  try {
    parts = fromBase64Url(String(token)).split("~");
  } catch {
    // It is refused.
  }
  const [of, at, command] = parts;
  const position = Number(at);
  const isToken = typeof token === "string" && (parts.length === 3 || (parts.length === 2 && position > 0)) &&
    of !== "" && /^\d{1,16}$/.test(at) && Number.isSafeInteger(position) &&
    (command === undefined || idFault(command) === null);
  if (!isToken) {
    throw new DomainDefinitionError(
      `Cannot use ${
        JSON.stringify(token)?.slice(0, 100) ?? String(token)
      } as a token; pass the "token" that process() returned`,
    );
  }
  if (of !== lasting(log)) {
    throw new DomainDefinitionError(
      "Cannot use this token: it is of another log, like that of a test or of another deployment",
    );
  }
  return { log, position, ...(command !== undefined && { command }) };
}
