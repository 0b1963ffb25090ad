import type { DomainDescription } from "../isolation/protocol.ts";
import type { EventStore } from "../store/port.ts";

/**
 * Says where new groups begin that do not want what was before them: at the log's end, unless the domain has not run yet.
 * Said once for each category, whatever many servers start at the same time.
 *
 * @param store Knows what has run before.
 * @param domain What is to run.
 */
export async function placeStarts(store: EventStore, { handlers }: DomainDescription): Promise<void> {
  const late = handlers.filter(({ startsAt }) => startsAt === "now");
  if (late.length === 0) return;
  const checkpoints = await store.checkpoints();
  const isFirst = !checkpoints.some(({ group }) => !group.startsWith("$"));
  const position = isFirst ? 0 : await store.lastPosition();
  for (const { name: group, categories } of late) {
    for (const category of categories) {
      if (checkpoints.some((checkpoint) => checkpoint.group === group && checkpoint.category === category)) continue;
      await store.commit({
        checkpoint: { group, category, partitions: 1, partition: 0, position },
        once: { key: `$start ${group} ${category}`, value: String(position) },
      });
    }
  }
}
