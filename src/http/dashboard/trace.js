import { part, read } from "./api.js";
import { count, duration, fromNow, number, time } from "./format.js";
import { jsonView } from "./json.js";
import { html, nothing } from "./libraries.js";
import { List } from "./list.js";
import { badge, emptyView, factsView, panelView, resourceView, streamLink } from "./parts.js";
import { Resource } from "./resource.js";
import { at, choose, go, route } from "./router.js";
import { afterPaint } from "./screen.js";
import { linesOf, spanOf } from "./trace_lines.js";

const found = new Resource();
let shown = null;
let span = null;

const name = () => route.parts[2] ?? "";
const open = () => list.items.find(({ key }) => key === route.params.get("line"));

const MESSAGES = {
  refused: "warn",
  failed: "bad",
  scheduled: "",
  undecided: "warn",
  accepted: "good",
  missing: "warn",
};
const HANDLINGS = {
  dead: "bad",
  "set aside": "bad",
  retrying: "warn",
  behind: "",
  waiting: "warn",
  "unknown type": "warn",
};

function stateView({ message, by }) {
  const [state, kind] = by ? [by.state, HANDLINGS[by.state]] : [message.state, MESSAGES[message.state]];
  // What is as usual needs no word.
  return state === "stored" || state === "passed" || state === "decided" ? nothing : badge(state, kind);
}

function nameView(line) {
  const { depth, message, by } = line;
  const indent = `padding-left:${Math.min(depth, 30) * 16}px`;
  return html`<span class="node ${by ? "group" : message.kind}" .style=${indent}><i aria-hidden="true"></i>${
    by ? html`${by.group} <small>${by.kind}</small>` : message.type || html`<span class="muted">${message.id}</span>`
  }</span>`;
}

function barView({ message, by }) {
  const at = by ? by.time : message.time;
  if (at === null || span === null || message.state === "scheduled") return nothing;
  const left = 100 * (at - span.from) / Math.max(1, span.to - span.from);
  return html`<span class="bar-track" aria-hidden="true"><i class=${by ? "group" : message.kind} .style=${`left:${
    left.toFixed(2)
  }%`}></i></span>`;
}

function afterView({ message, by }) {
  const { after } = by ?? message;
  if (!by && message.state === "scheduled") return fromNow(message.time);
  return after === null ? nothing : `+${duration(after)}`;
}

const list = new List({
  label: "What it led to",
  kind: "trace",
  key: ({ key }) => key,
  href: ({ key }) => at(["log", "trace", name()], { line: key }),
  open: ({ key }) => choose({ line: key }, { isStep: true }),
  isOpen: (line) => line === open(),
  height: 31,
  columns: [
    { name: "Message, and who handled it", kind: "name", cell: nameView },
    { name: "State", kind: "state", cell: stateView },
    { name: "Stream", kind: "stream mono", cell: ({ by, message }) => by ? nothing : message.stream },
    { name: "After its cause", kind: "num after", cell: afterView },
    { name: "When", kind: "span", cell: barView },
  ],
});

const load = async () => {
  const trace = await found.load((signal) => read(`trace/${part(name())}`, {}, signal));
  if (!trace) return;
  span = spanOf(trace);
  list.show(linesOf(trace));
};

function close() {
  choose({ line: null }, { isStep: true });
  list.focusSoon();
}

function handlingPanel({ by }) {
  const content = html`${
    factsView([
      ["Kind", by.kind],
      ["State", badge(by.state, HANDLINGS[by.state] ?? "good")],
      ["Attempts", by.attempts === 0 ? "none failed" : `${number(by.attempts)} failed`],
      by.time === null ? null : ["Acted", html`${time(by.time)}, ${duration(by.after ?? 0)} after the message`],
      by.dueAt === null ? null : ["Tried again", html`${time(by.dueAt)}, ${fromNow(by.dueAt)}`],
      ["Wrote", by.led.length === 0 ? "nothing" : count(by.led.length, "message")],
    ])
  }${
    by.error === null ? nothing : html`
      <h3>Error</h3>
      <p class="fault text">${by.error}</p>
    `
  }`;
  const buttons = by.deadLetter === null
    ? nothing
    : html`<a class="button primary" href=${at("dead-letters", { id: by.deadLetter })}>Dead letter</a>`;
  return panelView({ title: by.group, label: "Handling", content, buttons, close });
}

function tracedPanel({ message }) {
  const { id, type, kind, state, stream, position, time: made, reason, data, causationId, after } = message;
  const content = html`${
    reason === null ? nothing : html`
      <h3>${state === "refused" ? "Refused" : "Why"}</h3>
      <p class="fault text">${reason}</p>
    `
  }${
    data === null
      ? nothing
      : html`<h3>Payload <small>as it is stored</small></h3>${jsonView(data, { label: "Payload" })}`
  }${
    factsView([
      ["Kind", kind],
      ["State", badge(state, MESSAGES[state])],
      stream === "" ? null : ["Stream", streamLink(stream)],
      position === null ? null : ["Position", html`<span class="mono">${number(position)}</span>`],
      made === null ? null : [state === "scheduled" ? "Due" : "Written", time(made)],
      after === null ? null : ["After its cause", duration(after)],
      ["Id", html`<span class="mono">${id}</span>`],
      causationId === null ? null : ["Caused by", html`<span class="mono">${causationId}</span>`],
    ])
  }`;
  const buttons = state === "missing"
    ? nothing
    : html`<button @click=${() => go(["log", "trace", id])}>Only this and what it led to</button>`;
  return panelView({ title: type || id, label: "Message", content, buttons, close });
}

function contentView({ correlationId, causes, messages, duration: took, leftOut }) {
  const one = open();
  return html`<p class="muted">${count(messages, "message")} in ${duration(took)} · correlation <a class="mono" href=${
    at(["log", "trace", correlationId])
  }>${correlationId}</a></p>
    ${
    causes.length === 0
      ? nothing
      : html`<p>Caused by ${
        causes.map((cause, i) =>
          html`${i > 0 ? " → " : ""}<a href=${at(["log", "trace", cause.id])}>${cause.type || cause.id}</a>`
        )
      }</p>`
  }
    ${leftOut.map((text) => html`<p class="note warn">${text}.</p>`)}
    <div class="split fill ${one ? "with-panel" : ""}"><section aria-label="Tree">${
    list.view(emptyView("Nothing was found in time", "The log is long; look for the position of the message instead."))
  }</section>${one ? (one.by ? handlingPanel(one) : tracedPanel(one)) : nothing}</div>`;
}

/** What a message led to: messages, the groups that handled them, and so on. */
export const trace = {
  titleNow: () => "Trace",
  enter() {
    if (shown !== name()) {
      shown = name();
      found.clear();
      list.rewind();
      void load();
    }
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
  },
  leave() {
    shown = null;
  },
  escape() {
    if (!open()) return false;
    close();
    return true;
  },
  view() {
    return html`
      <div
        class="bar"><h1>What it led to</h1><span class="spring"></span><button @click=${load}>Refresh</button></div>${resourceView(
          found,
          load,
          contentView,
        )}
    `;
  },
};
