import { v7 } from "uuid";
import { isStorable } from "./text.ts";

/**
 * Creates a UUIDv7 (RFC 9562); later ids sort after earlier ones.
 *
 * @returns 36 characters, lower case.
 */
export function newId(): string {
  return v7();
}

/** The longest id or key that can be indexed, in UTF-16 code units. */
export const LONGEST_ID = 500;

/**
 * Checks whether a text can identify an aggregate, a row or a unique value.
 *
 * @param id The text.
 * @returns What is wrong and what to do; `null` if it is valid.
 */
export function idFault(id: unknown): string | null {
  if (typeof id !== "string" || id === "") return `${JSON.stringify(id) ?? String(id)} is not a non-empty string`;
  if (id.length > LONGEST_ID) {
    return `${JSON.stringify(id.slice(0, 40))}… is ${id.length} characters long; at most ${LONGEST_ID} are allowed`;
  }
  if (!isStorable(id)) {
    return `${JSON.stringify(id)} contains U+0000 or a lone surrogate, which cannot be stored`;
  }
  return null;
}

/**
 * Maps a stream name to a partition by a stable hash (32-bit FNV-1a).
 *
 * @param stream The stream's name.
 * @param partitions The number of partitions, at least 1.
 * @returns A number from 0 to `partitions - 1`.
 */
export function partitionOf(stream: string, partitions: number): number {
  if (partitions === 1) return 0;
  let hash = 0x811c9dc5;
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % partitions;
}
