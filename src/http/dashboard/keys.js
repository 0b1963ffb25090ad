import { html, nothing } from "./libraries.js";
import { isAsking } from "./notices.js";
import { afterPaint, repaint } from "./screen.js";

const KEYS = [
  ["j k ↓ ↑", "the next or the one before, in a list"],
  ["Enter", "opens it"],
  ["Space", "selects it"],
  ["r", "replays it, or what is selected"],
  ["/", "goes to the filter"],
  ["Esc", "closes what is open, leaves the filter"],
  ["g then o d k p j l a", "Overview, Dead letters, parKed, Processes, proJections, Log, Audit"],
  ["?", "shows this"],
];

const PLACES = { o: "", d: "dead-letters", k: "parked", p: "processes", j: "projections", l: "log", a: "audit" };

let isHelping = false;
let isGoing = false;

/** What keys do wherever somebody is. */
export const keysFor = {
  /** Returns the view that is shown. */
  place: () => null,
  toggleHelp() {
    isHelping = !isHelping;
    if (isHelping) afterPaint(() => document.getElementById("help")?.showModal());
    repaint();
  },
};

function helpClosed() {
  isHelping = false;
  repaint();
}

/** Which keys there are. */
export function helpView() {
  if (!isHelping) return nothing;
  return html`
    <dialog id="help" aria-labelledby="help-title" @close=${helpClosed}>
      <h2 id="help-title">Keys</h2>
      <dl class="keys">${KEYS.map(([keys, text]) =>
        html`
          <div>
            <dt>${keys.split(" ").map((key) => key === "then" ? " then " : html`<kbd>${key}</kbd>`)}</dt>
            <dd>${text}</dd>
          </div>
        `
      )}</dl>
      <div class="buttons"><button autofocus @click=${(event) =>
        event.currentTarget.closest("dialog").close()}>Close</button></div>
    </dialog>
  `;
}

function pressed(event) {
  if (isAsking() || isHelping || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const isTyping = event.target.matches?.("input:not([type=checkbox]), textarea, select");
  const filter = document.querySelector("[data-filter]");
  if (event.key === "Escape") {
    if (isTyping) return event.target.blur(), document.querySelector(".list")?.focus({ preventScroll: true });
    if (keysFor.place()?.escape?.()) event.preventDefault();
    return;
  }
  if (isTyping) {
    if (event.key === "ArrowDown" && event.target === filter) document.querySelector(".list")?.focus();
    return;
  }
  if (isGoing && event.key in PLACES) {
    location.hash = `#/${PLACES[event.key]}`;
  } else if (event.key === "/" && filter) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === "?") {
    keysFor.toggleHelp();
  } else if (["j", "k", "ArrowDown", "ArrowUp"].includes(event.key) && document.activeElement === document.body) {
    document.querySelector(".list")?.focus();
  }
  isGoing = event.key === "g";
}

addEventListener("keydown", pressed);
