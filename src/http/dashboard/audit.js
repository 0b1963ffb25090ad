import { read } from "./api.js";
import { count, number, time } from "./format.js";
import { jsonView } from "./json.js";
import { html, nothing } from "./libraries.js";
import { List } from "./list.js";
import { Pager } from "./pager.js";
import { badge, emptyView, factsView, panelView } from "./parts.js";
import { at, choose, route } from "./router.js";
import { afterPaint } from "./screen.js";

let isRead = false;

const open = () => list.items.find(({ position }) => String(position) === route.params.get("position"));

function summary(details) {
  return Object.entries(details).filter(([, value]) => value !== false).map(([name, value]) => {
    if (Array.isArray(value)) return count(value.length, name.replace(/s$/, ""), name);
    return value === true ? name : `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`;
  }).join(", ");
}

const list = new List({
  label: "What operators did",
  kind: "audit",
  key: ({ position }) => position,
  href: ({ position }) => at("audit", { position }),
  open: ({ position }) => choose({ position }, { isStep: true }),
  isOpen: (one) => one === open(),
  more: () => pager.more(),
  columns: [
    { name: "What", kind: "name", cell: ({ action }) => action },
    { name: "To what", kind: "details", cell: ({ details }) => summary(details) },
    {
      name: "Result",
      kind: "state",
      cell: ({ error }) => error === null ? badge("done", "good") : badge("failed", "bad"),
    },
    { name: "Who", kind: "who", cell: ({ who }) => who },
    { name: "When", kind: "when", cell: ({ at: when }) => time(when) },
  ],
});

const pager = new Pager(list, {
  one: "record",
  read: async (before, signal) => {
    const { records, next } = await read("audit", { before, limit: 200 }, signal);
    return { items: records, next };
  },
});

function close() {
  choose({ position: null }, { isStep: true });
  list.focusSoon();
}

function panel({ action, who, at: when, position, details, error }) {
  const content = html`${
    factsView([["Who", who], ["When", time(when)], ["Position", html`<span class="mono">${number(position)}</span>`]])
  }${
    error === null ? nothing : html`
      <h3>Failed</h3>
      <p class="fault text">${error}</p>
    `
  }<h3>To what</h3>${jsonView(details, { label: "Details" })}`;
  return panelView({ title: action, label: "Record", content, close });
}

/** What operators did. */
export const audit = {
  title: "Audit",
  enter() {
    if (!isRead) void pager.load();
    isRead = true;
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
  },
  leave() {
    isRead = false;
  },
  escape() {
    if (!open()) return false;
    close();
    return true;
  },
  view() {
    const one = open();
    const none = () =>
      emptyView(
        "Nobody has changed anything",
        "Whatever somebody changes here, or with the command line, is recorded in the log before it is done: who, what and when.",
      );
    return html`
      <h1>Audit</h1>
      <div class="split fill ${one ? "with-panel" : ""}"><section aria-label="List">${pager.view(none)}</section>${one
        ? panel(one)
        : nothing}</div>
    `;
  },
};
