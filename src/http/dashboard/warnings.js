import { count, duration, fromNow, names, number } from "./format.js";
import { at } from "./router.js";

/** A lag that somebody should know of, in seconds. */
const LONG_LAG = 30;

/** What a group waits for that is set aside until its dead letter is replayed; it is no code. */
const REPLAY = "a replay";

/** The versions of types that a group waits for. */
export const awaitedCode = ({ awaiting }) => Object.entries(awaiting).filter(([type]) => type !== REPLAY);

const LEVELS = ["error", "warn"];

/** One warning of many groups, or of one. */
function ofGroups(groups, { level, one, many, todo, href, all = null }) {
  if (groups.length === 0) return [];
  const [first] = groups;
  return [{
    level,
    text: groups.length === 1 ? one(first) : many(groups, names(groups.map(({ group }) => group))),
    todo: typeof todo === "function" ? todo(first) : todo,
    href: groups.length === 1 ? href(first) : all,
  }];
}

function serviceWarnings({ away, services }) {
  const found = [];
  if (away !== null) {
    found.push({
      level: "error",
      text: `The event store does not answer: ${away}`,
      todo:
        "Check that it runs and can be reached from here. Commands wait meanwhile, and nothing is lost; the groups go on by themselves.",
    });
  }
  for (const { name, location, away: why } of services) {
    if (why === null || name === "event store") continue;
    found.push({
      level: "warn",
      text: `The ${name} does not answer: ${why}`,
      todo:
        `Check ${location}. The groups read the log instead, so nothing stops or is lost; they go back by themselves.`,
    });
  }
  return found;
}

function outboxWarnings({ waiting, oldestSeconds, relay }) {
  if (waiting === 0) return [];
  if (relay === null) {
    return [{
      level: "error",
      text: `${count(waiting, "message")} cannot reach the broker: no relay runs`,
      todo: "The relay starts with a server; see the log of the running ones for why theirs ended.",
    }];
  }
  if (oldestSeconds < LONG_LAG) return [];
  return [{
    level: "warn",
    text: `The outbox is ${duration(oldestSeconds * 1_000)} behind: ${count(waiting, "message")} wait`,
    todo: "Check that the broker answers and has room.",
  }];
}

const isResting = ({ resting }) => resting.length > 0;

function groupWarnings(groups, now) {
  const still = groups.filter((one) => one.running < one.workers && !isResting(one));
  return [
    ...ofGroups(groups.filter(isResting), {
      level: "error",
      one: ({ group, resting: [{ until, reason }] }) =>
        `${group} rests, because its worker kept ending: ${reason}. It starts again ${fromNow(Date.parse(until), now)}`,
      many: (all, named) => `${count(all.length, "group")} rest, because their workers kept ending: ${named}`,
      todo: "See what ends it: its error, its memory, a handler that never returns. Nothing is lost meanwhile.",
      href: ({ group }) => at("", { group }),
    }),
    ...ofGroups(still.filter(({ running }) => running === 0), {
      level: "error",
      one: ({ group }) => `${group} does not run`,
      many: (all, named) => `${count(all.length, "group")} do not run: ${named}`,
      todo: "A server that was just started takes a moment. Otherwise see its log for why the worker does not start.",
      href: ({ group }) => at("", { group }),
    }),
    ...ofGroups(still.filter(({ running }) => running > 0), {
      level: "warn",
      one: ({ group, running, workers }) => `${group} runs ${running} of its ${workers} workers`,
      many: (all, named) => `${count(all.length, "group")} run with fewer workers than they should: ${named}`,
      todo: "Start another server, or see the log for why a worker does not start.",
      href: ({ group }) => at("", { group }),
    }),
    ...ofGroups(groups.filter((one) => awaitedCode(one).length > 0), {
      level: "warn",
      one: (one) => {
        const waits = awaitedCode(one);
        const all = waits.reduce((sum, [, n]) => sum + n, 0);
        return `${one.group} waits for code that knows ${names(waits.map(([type]) => type))}: ${count(all, "message")}`;
      },
      many: (all, named) => `${count(all.length, "group")} wait for newer code: ${named}`,
      todo: "Deploy the version that writes these types everywhere; they go on by themselves then.",
      href: ({ group }) => at("parked", { group }),
      all: at("parked"),
    }),
    ...ofGroups(groups.filter(({ dead }) => dead > 0), {
      level: "warn",
      one: ({ group, dead }) => `${group} has given up ${count(dead, "message")}`,
      many: (all, named) =>
        `${count(all.length, "group")} have given up ${
          number(all.reduce((sum, { dead }) => sum + dead, 0))
        } messages: ${named}`,
      todo: "Look at the error, mend what causes it, then replay them.",
      href: ({ group }) => at("dead-letters", { group }),
      all: at("dead-letters"),
    }),
    ...ofGroups(groups.filter(({ lagSeconds, running }) => lagSeconds > LONG_LAG && running > 0), {
      level: "warn",
      one: ({ group, lagSeconds, lagMessages }) =>
        `${group} is ${duration(lagSeconds * 1_000)} behind: ${count(lagMessages, "message")}`,
      many: (all, named) => `${count(all.length, "group")} are more than ${LONG_LAG} s behind: ${named}`,
      todo:
        "If its rate does not keep up with what comes, give it more workers in [server.workers], or make its handler faster.",
      href: ({ group }) => at("", { group }),
    }),
  ];
}

/** What somebody has to know about, the worst first, each with what to do. */
export function warningsOf(look, now = Date.now()) {
  const found = [
    ...serviceWarnings(look),
    ...look.outbox ? outboxWarnings(look.outbox) : [],
    ...look.groups ? groupWarnings(look.groups, now) : [],
  ];
  return found.sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
}

/** What is wrong with a group, in a word; `null` if nothing is. */
export function stateOf(one) {
  const { resting, running, workers, dead, retrying, lagSeconds } = one;
  if (resting.length > 0) return ["resting", "bad"];
  if (running === 0) return ["not running", "bad"];
  if (running < workers) return ["short of workers", "warn"];
  if (dead > 0) return ["dead letters", "warn"];
  if (awaitedCode(one).length > 0) return ["awaits code", "warn"];
  if (lagSeconds > LONG_LAG) return ["behind", "warn"];
  if (retrying > 0) return ["retrying", "warn"];
  return ["fine", "good"];
}
