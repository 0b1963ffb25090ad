import { change } from "./api.js";
import { count, number } from "./format.js";
import { announce, ask, attempt } from "./notices.js";
import { at } from "./router.js";

function replayedText({ replayed, left }) {
  if (left === 0) return `Replayed ${count(replayed, "dead letter")}.`;
  return `Replayed ${number(replayed)}, left ${number(left)}: a process was told that these commands were given up. ` +
    "Open one to replay it anyway.";
}

/**
 * What can be done with dead letters.
 *
 * @param find Returns one that is listed, by its id.
 * @param changed Hears which ones are gone.
 */
export function letterActions({ find, changed }) {
  const purge = async (which, n, of, ids) => {
    const isSure = await ask({
      title: `Purge ${count(n, "dead letter")}?`,
      text:
        `${of} will never be handled by their group. The log keeps the messages, but what is purged cannot be replayed ` +
        "any more.",
      action: n === 1 ? "Purge it" : `Purge ${number(n)}`,
      isDangerous: true,
    });
    if (!isSure) return;
    await attempt(async () => {
      const { purged, aside } = await change("dead-letters/purge", which);
      const rest = aside > 0 ? ` ${count(aside, "message")} of process instances stay set aside: see Processes.` : "";
      announce(`Purged ${count(purged, "dead letter")}.${rest}`);
      changed(ids);
    });
  };

  return {
    /** Hands some back to their groups. */
    async replay(ids, anyway = false) {
      const letter = ids.length === 1 ? find(ids[0]) : undefined;
      await attempt(async () => {
        const done = await change("dead-letters/replay", { ids, anyway });
        const more = letter && done.replayed > 0
          ? { text: "See what came of it", href: at(["log", "trace", String(letter.position)]) }
          : null;
        announce(replayedText(done), { more, isError: done.replayed === 0 });
        changed(done.left === 0 ? ids : []);
      });
    },
    /** Hands all of a group back to it, or those that match a text. */
    async replayAll(group, text, n) {
      const which = text === "" ? count(n, "message") : `All dead letters that match “${text}”`;
      const isSure = await ask({
        title: text === "" ? `Replay all of ${group}?` : "Replay all that match?",
        text:
          `${which} ${
            n === 1 && text === "" ? "goes" : "go"
          } back to ${group}, and to no other group, the oldest first. ` +
          "What fails again comes back here.",
        action: "Replay all",
      });
      if (!isSure) return;
      await attempt(async () => {
        announce(replayedText(await change("dead-letters/replay", { group, ...(text !== "" && { text }) })));
        changed([]);
      });
    },
    /** Deletes some. */
    purge: (ids, of) => purge({ ids }, ids.length, of, ids),
    /** Deletes all of a group. */
    purgeAll: (group, n) => purge({ group }, n, `All dead letters of ${group}`, []),
  };
}
