import { DomainDefinitionError } from "./errors.ts";
import type { MessageType } from "./message_type.ts";
import { whatIs } from "./names.ts";
import { isStorable } from "./text.ts";

/** The longest tag, in UTF-16 code units, and how many a message may have. */
export const LONGEST_TAG = 200;
/** See {@linkcode LONGEST_TAG}. */
export const MOST_TAGS = 50;

/** What is wrong with a tag; `null` if nothing is. */
export function tagFault(tag: unknown): string | null {
  if (typeof tag !== "string") return `a tag is a text, and this is ${whatIs(tag)}`;
  if (tag === "") return "a tag is a text that is not empty";
  if (tag.length > LONGEST_TAG) return `it has ${tag.length} characters; at most ${LONGEST_TAG} are allowed`;
  return isStorable(tag) ? null : "it has U+0000 or half of a character";
}

/**
 * Returns the tags of a message.
 *
 * @param type Its type.
 * @param payload Its payload.
 * @returns Each tag once.
 * @throws {DomainDefinitionError} If the type's function does not return tags.
 */
export function tagsFor({ type, tags }: MessageType, payload: unknown): readonly string[] {
  if (!tags) return [];
  const found: unknown = tags(payload);
  const refuse = (fault: string) => new DomainDefinitionError(`tags of "${type}" ${fault}`);
  if (!Array.isArray(found)) throw refuse(`returned ${whatIs(found)}; return a list of texts`);
  for (const tag of found) {
    const fault = tagFault(tag);
    if (fault !== null) throw refuse(`returned a tag that cannot be: ${fault}`);
  }
  const unique = [...new Set(found as string[])];
  if (unique.length > MOST_TAGS) throw refuse(`returned ${unique.length} tags; at most ${MOST_TAGS} are allowed`);
  return unique;
}
