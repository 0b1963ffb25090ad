import { part, read } from "./api.js";
import { count, number, time } from "./format.js";
import { jsonView } from "./json.js";
import { html, nothing } from "./libraries.js";
import { payloadView } from "./message.js";
import { emptyView, resourceView, traceLink } from "./parts.js";
import { Resource } from "./resource.js";
import { at, route } from "./router.js";

/** How many messages are shown at a time. */
const PAGE = 50;

const page = new Resource();
let shown = null;
let earlier = [];

const name = () => route.parts[2] ?? "";
const highlighted = () => route.params.get("version");

async function load() {
  earlier = [];
  await page.load((signal) => read(`streams/${part(name())}`, { limit: PAGE }, signal));
}

async function loadEarlier() {
  const before = page.value.next;
  const loaded = [...page.value.messages, ...earlier];
  const found = await page.load((signal) => read(`streams/${part(name())}`, { limit: PAGE, before }, signal));
  if (found) earlier = loaded;
}

function messageView(message, before) {
  const { version, type, position, time: made, id, state } = message;
  return html`
    <li class=${String(version) === highlighted() ? "open" : ""}>
      <header><b class="version">${number(version)}</b> <b>${type}</b> <span class="when">${time(made)}</span>
          <span class="spring"></span><span class="muted mono">${number(position)}</span> ${traceLink(
            id,
            "what it led to",
          )}</header>
      <div class="beside ${state === undefined ? "same" : ""}"><section>${payloadView(
        message,
      )}</section>${state === undefined
        ? nothing
        : html`<section><h3>State after it</h3>${
          jsonView(state, { label: `State after version ${version}`, other: before })
        }</section>`}</div>
    </li>
  `;
}

function contentView({ versions, isFolded, messages, next }) {
  const all = [...messages, ...earlier];
  // The newest first; what has changed is marked.
  const shownMessages = all.map((message, i) => [message, all[i - 1]?.state]).reverse();
  return html`<p class="muted">${count(versions, "message")}, the newest first.${
    isFolded
      ? " What an event has changed in the state is marked."
      : " It is too long, or of the toolkit itself, to show states."
  }</p><ol class="history">${shownMessages.map(([message, before]) => messageView(message, before))}</ol>${
    next === null
      ? nothing
      : html`<p><button ?disabled=${page.isLoading} @click=${loadEarlier}>Show earlier ones</button></p>`
  }`;
}

/** A stream's history, with the state after each event. */
export const stream = {
  titleNow: () => name(),
  enter() {
    if (shown === name()) return;
    shown = name();
    page.clear();
    if (shown !== "") void load();
  },
  leave() {
    shown = null;
  },
  view() {
    return html`<p class="back"><a href=${at("log", { stream: name() })}>Log</a></p><h1 class="mono">${name()}</h1>${
      name() === ""
        ? emptyView("Which stream?", "Its name is missing in the address.")
        : resourceView(page, load, contentView)
    }`;
  },
};
