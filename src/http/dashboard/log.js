import { read } from "./api.js";
import { number, time } from "./format.js";
import { html, nothing } from "./libraries.js";
import { List } from "./list.js";
import { messageView, payloadView } from "./message.js";
import { Pager } from "./pager.js";
import { debounced, emptyView, panelView } from "./parts.js";
import { at, choose, go, route } from "./router.js";
import { afterPaint, repaint } from "./screen.js";
import { stream } from "./stream.js";
import { trace } from "./trace.js";

const FIELDS = ["stream", "type", "category", "correlation", "since"];

let known = { categories: [], types: [] };
let suggestion = null;
let shownFor = null;

const chosen = () => Object.fromEntries(FIELDS.map((name) => [name, route.params.get(name) ?? ""]));
const open = () => list.items.find(({ position }) => String(position) === route.params.get("position"));

const list = new List({
  label: "Messages",
  kind: "log",
  key: ({ position }) => position,
  href: ({ position }) => at("log", { ...chosen(), position }),
  open: ({ position }) => choose({ position }, { isStep: true }),
  isOpen: (one) => one === open(),
  more: () => pager.more(),
  keys: { t: ({ id }) => go(["log", "trace", id]), s: ({ stream }) => go(["log", "stream", stream]) },
  columns: [
    { name: "Type", kind: "name", cell: ({ type }) => type },
    { name: "Stream", kind: "stream mono", cell: ({ stream }) => stream },
    {
      name: "Payload",
      kind: "payload mono",
      cell: ({ raw, payload }) => payload === null ? raw : JSON.stringify(payload),
    },
    { name: "Position", kind: "num position", cell: ({ position }) => number(position) },
    { name: "Written", kind: "when", cell: ({ time: at }) => time(at) },
  ],
});

const pager = new Pager(list, {
  one: "message",
  read: async (before, signal) => {
    const { since, ...rest } = chosen();
    const from = since === "" ? undefined : new Date(since).getTime();
    const found = await read(
      "log",
      { ...rest, since: Number.isNaN(from) ? undefined : from, before, limit: 100 },
      signal,
    );
    if (before === null) suggestion = found.suggestion ?? null;
    return { items: found.messages, next: found.next };
  },
});

async function readNames() {
  try {
    known = await read("names");
    repaint();
  } catch {
    // Without them, names are typed in full.
  }
}

let given = {};

const apply = debounced(() => {
  list.rewind();
  choose({ ...given, position: null });
  given = {};
}, 300);

function typed(name, value) {
  given[name] = value;
  apply();
}

function fieldView(name, label, { type = "search", options = null } = {}) {
  return html`<label><span>${label}</span><input type=${type} name=${name} .value=${chosen()[name]} list=${
    options ? `known-${name}` : nothing
  } ?data-filter=${name === "stream"} autocomplete="off" spellcheck="false" @input=${(event) =>
    typed(name, event.currentTarget.value)}>${
    options
      ? html`<datalist id="known-${name}">${options.map((one) => html`<option value=${one}></option>`)}</datalist>`
      : nothing
  }</label>`;
}

function find(event) {
  event.preventDefault();
  const id = new FormData(event.currentTarget).get("id").trim();
  if (id !== "") go(["log", "trace", id]);
}

function close() {
  choose({ position: null }, { isStep: true });
  list.focusSoon();
}

function panel(message) {
  return panelView({
    title: message.type,
    label: "Message",
    close,
    buttons: html`
      <a class="button" href=${at(["log", "trace", message.id])}>What it led to</a>
      <a class="button" href=${at(["log", "stream", message.stream])}>Its stream</a>
    `,
    content: html`${payloadView(message)}<h3>Message</h3>${messageView(message)}`,
  });
}

function emptyList() {
  const given = FIELDS.filter((name) => chosen()[name] !== "");
  if (given.length === 0) {
    return emptyView("The log is empty", "Each command that is sent, and each event that follows, appears here.");
  }
  const name = chosen().stream === "" ? "correlation" : "stream";
  return emptyView(
    "Nothing matches",
    suggestion === null
      ? "No message is what is chosen above."
      : html`Did you mean <a class="mono" href=${at("log", { [name]: suggestion })}>${suggestion}</a>?`,
    html`<a href=${at("log")}>Show all</a>`,
  );
}

const search = {
  enter() {
    const which = JSON.stringify(chosen());
    if (which !== shownFor) void pager.load();
    if (shownFor === null) void readNames();
    shownFor = which;
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
  },
  leave() {
    shownFor = null;
  },
  escape() {
    if (!open()) return false;
    close();
    return true;
  },
  view() {
    const one = open();
    return html`
      <h1>Log</h1>
      <div class="search" role="search">
              ${fieldView("stream", "Stream")}${fieldView("type", "Type", { options: known.types })}${fieldView(
                "category",
                "Category",
                { options: known.categories },
              )}${fieldView("correlation", "Correlation")}${fieldView("since", "Since", { type: "datetime-local" })}
              <button @click=${pager.load}>Refresh</button>
              <form @submit=${find}><label><span>Trace of</span><input type="search" name="id" placeholder="id, position or correlation" autocomplete="off" spellcheck="false"></label><button>Show</button></form>
            </div>
      <div class="split fill ${one ? "with-panel" : ""}"><section aria-label="List">${pager.view(
        emptyList,
      )}</section>${one ? panel(one) : nothing}</div>
    `;
  },
};

const place = () => ({ stream, trace })[route.parts[1]] ?? search;
let entered = null;

/** The log: a search, a stream's history, and what a message led to. */
export const log = {
  title: "Log",
  titleNow: () => place().titleNow?.() ?? "Log",
  enter() {
    if (entered !== place()) entered?.leave?.();
    entered = place();
    entered.enter();
  },
  leave() {
    entered?.leave?.();
    entered = null;
  },
  escape: () => place().escape?.() ?? false,
  view: () => place().view(),
};
