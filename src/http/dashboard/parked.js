import { part, read } from "./api.js";
import { duration, fromNow, number, time } from "./format.js";
import { html, nothing } from "./libraries.js";
import { List } from "./list.js";
import { known } from "./live.js";
import { Pager } from "./pager.js";
import { badge, emptyView, factsView, panelView, streamLink, traceLink } from "./parts.js";
import { at, choose, route } from "./router.js";
import { afterPaint } from "./screen.js";

let shownFor = null;
let shownCount = 0;

const group = () => route.params.get("group") ?? "";
const open = () => list.items.find(({ position }) => String(position) === route.params.get("position"));

/** What a message waits for, in words. */
function reasonOf({ waitsFor, awaits, behind, dueAt, replayed }) {
  switch (waitsFor) {
    case "a retry":
      return `its next attempt, ${fromNow(dueAt)}`;
    case "a replay":
      return "the replay of its dead letter";
    case "code":
      return `code that knows ${awaits}`;
    default:
      if (replayed && behind === null) return "its turn: it was replayed";
      return behind === null ? "its turn" : `message ${number(behind)} of its stream`;
  }
}

const KINDS = { "a retry": "warn", "a replay": "bad", code: "warn", "its turn": "" };

const list = new List({
  label: "Parked messages",
  kind: "parked",
  key: ({ position }) => position,
  href: ({ position }) => at("parked", { group: group(), position }),
  open: ({ position }) => choose({ position }, { isStep: true }),
  isOpen: (one) => one === open(),
  more: () => pager.more(),
  columns: [
    { name: "Message", kind: "name", cell: ({ type }) => type },
    { name: "Stream", kind: "stream mono", cell: ({ stream }) => stream },
    {
      name: "Waits for",
      kind: "waits",
      cell: (one) => html`${badge(one.waitsFor, KINDS[one.waitsFor])} ${reasonOf(one)}`,
    },
    { name: "Attempts", kind: "num attempts", cell: ({ attempts }) => number(attempts) },
    { name: "Written", kind: "when", cell: ({ time: at }) => time(at) },
  ],
});

const pager = new Pager(list, {
  one: "message",
  read: async (after, signal) => {
    if (group() === "") return { items: [], next: null };
    const { messages, next } = await read(`groups/${part(group())}/waiting`, { after, limit: 200 }, signal);
    return { items: messages, next };
  },
});

const waitingOf = ({ retrying, pending }) => retrying + pending;

function groupsView(groups) {
  return html`<ul class="tabs" aria-label="Groups">${
    groups.map((one) =>
      html`<li><a href=${at("parked", { group: one.group })} aria-current=${
        one.group === group() ? "true" : nothing
      }>${one.group}
        <b class="count">${number(waitingOf(one))}</b></a></li>`
    )
  }</ul>`;
}

function panel(one, close) {
  const { type, schemaVersion, stream, position, attempts, failures, behind, dueAt, waitsFor, time: made } = one;
  const content = html`${
    factsView([
      ["Waits for", html`${badge(waitsFor, KINDS[waitsFor])} ${reasonOf(one)}`],
      waitsFor === "a retry" ? ["Next attempt", time(dueAt)] : null,
      behind === null ? null : ["Behind", traceLink(String(behind), `message ${number(behind)}`)],
      ["Stream", streamLink(stream)],
      ["Position", html`<span class="mono">${number(position)}</span>`],
      ["Version", schemaVersion],
      ["Written", html`${time(made)}, ${duration(Date.now() - made)} ago`],
      ["Led to", traceLink(String(position), "what this message led to")],
    ])
  }${
    waitsFor === "a replay"
      ? html`<p><a href=${at("dead-letters", { group: group(), text: stream })}>Dead letters of its stream</a></p>`
      : nothing
  }${
    failures.length === 0 ? nothing : html`
      <h3>${number(attempts)} attempts</h3>
      <ol class="attempts">${failures.map(({ at: when, error }, i) =>
        html`<li><b>${i + 1}</b><span class="when">${time(when)}</span><span class="text">${error}</span></li>`
      )}</ol>
    `
  }`;
  return panelView({ title: type, label: "Parked message", content, close });
}

function close() {
  choose({ position: null }, { isStep: true });
  list.focusSoon();
}

/** What groups have set aside, and what each message waits for. */
export const parked = {
  title: "Parked",
  enter() {
    if (group() !== shownFor) {
      shownFor = group();
      list.rewind();
      pager.clear();
      if (group() !== "") void pager.load();
    }
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
  },
  leave() {
    shownFor = null;
  },
  heard() {
    const one = known()?.groups.find((one) => one.group === group());
    if (!one || waitingOf(one) === shownCount || !list.isAtRest || !pager.isAtRest) return;
    shownCount = waitingOf(one);
    void pager.load();
  },
  escape() {
    if (!open()) return false;
    close();
    return true;
  },
  view() {
    const groups = (known()?.groups ?? []).filter((one) => waitingOf(one) > 0 || one.group === group())
      .sort((a, b) => waitingOf(b) - waitingOf(a));
    if (group() === "" && groups.length > 0) queueMicrotask(() => group() === "" && choose({ group: groups[0].group }));
    const one = open();
    const nothingWaits = () =>
      emptyView(
        "Nothing is parked",
        "A message that failed waits here for its next attempt; so does what follows it in its stream, and what no running " +
          "code knows yet. All else goes on meanwhile.",
      );
    return html`<h1>Parked</h1>${
      groups.length === 0
        ? nothingWaits()
        : html`${groupsView(groups)}<div class="split fill ${one ? "with-panel" : ""}"><section aria-label="List">${
          pager.view(nothingWaits)
        }</section>${one ? panel(one, close) : nothing}</div>`
    }`;
  },
};
