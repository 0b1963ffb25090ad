import { noteUntagged, untaggedTypes } from "../groups/tagged.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import type { EventStore } from "../store/port.ts";
import { EngineStartError } from "./errors.ts";

/**
 * Refuses to decide within boundaries while events that count there have no tags yet: they would not be found.
 *
 * @param store Knows which events there are.
 * @param domain What is to run.
 * @throws {EngineStartError} If there are such events, with what to do.
 */
export async function checkTags(store: EventStore, { name, tagged, types }: DomainDescription): Promise<void> {
  const known = new Set(Object.keys(types));
  await noteUntagged(store, { known, tagged: new Set(tagged.map(({ type }) => type)) });
  const sought = (await untaggedTypes(store, tagged)).filter(({ isSought }) => isSought);
  if (sought.length === 0) return;
  const found = sought.map(({ type, category, position }) =>
    `  "${type}" of ${category}, like the one at position ${position}`
  );
  throw new EngineStartError(
    `Events from before their type had tags are looked for by boundaries, which would not find them:\n\n${
      found.join("\n")
    }\n\nOnce no server of an older version is running, give them their tags: annals store tag --domain=${name}`,
  );
}
