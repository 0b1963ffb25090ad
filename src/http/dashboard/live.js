import { readSession, session } from "./api.js";
import { looksOf, withNews } from "./looks.js";
import { repaint } from "./screen.js";

/** How many looks are kept: five minutes. */
const MOST = 300;

/** How long nothing may come before the server counts as gone, and how long to wait before it is tried again, in milliseconds. */
const PATIENCE = 6_000;
const PAUSE = 2_000;

/** What the server tells once a second. */
export const live = {
  /** The last looks, the oldest first. */
  looks: [],
  /** `waiting`: for the first look. `open`. `gone`: the server does not answer. */
  state: "waiting",
  /** When the last look came, in milliseconds since 1970. */
  heardAt: 0,
  /** The time of the last look, by the server's clock. */
  heardUpTo: 0,
};

/** The last look that there is. */
export const look = () => live.looks.at(-1) ?? null;

/** The last look that the store has answered for. */
export const known = () => live.looks.findLast(({ groups }) => groups) ?? null;

let source = null;
let timer;

function lost() {
  source?.close();
  source = null;
  clearTimeout(timer);
  live.state = "gone";
  repaint();
  timer = setTimeout(listen, PAUSE);
}

function heard({ data }) {
  const { isWhole = false, history, ...told } = JSON.parse(data);
  const next = isWhole ? told : withNews(live.looks.at(-1), told);
  // The server begins with what it has kept: that may be less than what was heard before a break.
  const missed = history ? looksOf(history).filter(({ at }) => at > live.heardUpTo) : [];
  live.looks = [...live.looks, ...missed].filter(({ at }) => at < next.at).concat(next).slice(-MOST);
  live.heardUpTo = next.at;
  live.state = "open";
  live.heardAt = Date.now();
  clearTimeout(timer);
  timer = setTimeout(lost, PATIENCE);
  repaint();
}

/** Listens, for as long as the page is open. */
export async function listen() {
  clearTimeout(timer);
  try {
    // Whoever has to log in again cannot be told apart from a server that is gone otherwise.
    if ((await readSession()).who === null) return stop();
  } catch {
    return lost();
  }
  source?.close();
  source = new EventSource("/operator/live");
  source.onmessage = heard;
  source.onerror = lost;
  timer = setTimeout(lost, PATIENCE);
}

/** Stops listening. */
export function stop() {
  source?.close();
  source = null;
  clearTimeout(timer);
  live.looks = [];
  live.heardUpTo = 0;
  live.state = "waiting";
}

/** Whether somebody may see something. */
export const isKnown = () => typeof session.current?.who === "string";
