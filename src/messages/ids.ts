import { v7 } from "uuid";

/**
 * Makes a new identifier: a UUIDv7 (RFC 9562), so ids made later sort later.
 *
 * @returns 36 characters, lower case.
 */
export function newId(): string {
  return v7();
}

/**
 * Hashes a stream name to a partition, the same everywhere and for ever (FNV-1a, 32 bits).
 *
 * @param stream The stream's name.
 * @param partitions How many partitions there are, at least 1.
 * @returns A number from 0 to `partitions - 1`.
 */
export function partitionOf(stream: string, partitions: number): number {
  if (partitions === 1) return 0;
  let hash = 0x811c9dc5;
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % partitions;
}
