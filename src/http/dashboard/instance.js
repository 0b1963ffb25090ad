import { part, read } from "./api.js";
import { count, fromNow, number, time } from "./format.js";
import { html, nothing } from "./libraries.js";
import { badge, factsView, panelView, resourceView, traceLink } from "./parts.js";
import { Resource } from "./resource.js";

/** How many inputs are shown: the last ones. */
const MOST = 200;

const OUTCOMES = { accepted: "good", refused: "warn", failed: "bad" };

const instance = new Resource();
let shown = null;

const load = () => instance.load((signal) => read(`processes/${part(shown.manager)}/${part(shown.id)}`, {}, signal));

/** Reads an instance to show it; `null`: none. */
export function showInstance(which, isAgain = false) {
  if (!isAgain && which?.manager === shown?.manager && which?.id === shown?.id) return;
  if (!isAgain) instance.clear();
  shown = which;
  if (which !== null) void load();
}

function inputView({ input, did, why, at, sent, set = [], unset = [], undo = [], undoing, status }) {
  return html`<li class=${did}>
    <p><b>${traceLink(String(input.position), input.type)}</b> ${
    did === "handled" ? nothing : badge(did === "waits" ? "waits for the begin" : did)
  } <span class="when">${time(at)}</span></p>
    ${why ? html`<p class="muted text">${why}</p>` : nothing}
    ${
    sent.map(({ id, type, to, outcome }) =>
      html`<p class="effect">sent ${traceLink(id, type)} to <span class="mono">${to}</span> ${
        badge(outcome, OUTCOMES[outcome])
      }</p>`
    )
  }
    ${set.map(({ name }) => html`<p class="effect">set the timer <b>${name}</b></p>`)}
    ${unset.map((name) => html`<p class="effect">the timer <b>${name}</b> is over</p>`)}
    ${
    undo.length === 0
      ? nothing
      : html`<p class="effect">remembers ${count(undo.length, "command")} that would undo it</p>`
  }
    ${undoing ? html`<p class="effect">undoes what was done</p>` : nothing}
    ${status === "ended" ? html`<p class="effect">ended</p>` : nothing}
  </li>`;
}

function contentView({ manager, status, run, code, at, error, timers, waiting, inputs }) {
  return html`${
    error
      ? html`
        <h3>Set aside, because</h3>
        <p class="fault text">${error}</p>
      `
      : nothing
  }${
    factsView([
      ["Process", manager],
      ["Status", badge(status, { "set aside": "bad", running: "good", undoing: "warn" }[status])],
      ["Begun", count(run, "time")],
      ["Last code", `version ${code}`],
      ["Last input", time(at)],
      waiting > 0 ? ["Waiting", `${count(waiting, "event")} for it to begin`] : null,
    ])
  }${
    timers.length === 0 ? nothing : html`
      <h3>Timers</h3>
      <ul>${timers.map(({ name, dueAt }) =>
        html`<li><b>${name}</b> ${
          dueAt === null ? "is over; it has not heard of it yet" : html`${time(dueAt)}, ${fromNow(dueAt)}`
        }</li>`
      )}</ul>
    `
  }<h3>${count(inputs.length, "input")}${
    inputs.length > MOST
      ? html`
        <small>the last ${number(MOST)}</small>
      `
      : nothing
  }</h3>
  ${
    inputs.length === 0
      ? html`<p class="muted">It has handled nothing.</p>`
      : html`<ol class="inputs">${inputs.slice(-MOST).map(inputView)}</ol>`
  }`;
}

/** One instance. */
export function instancePanel({ close, retry, abandon }) {
  const found = instance.value;
  return panelView({
    title: shown?.id ?? "",
    label: "Instance",
    close,
    buttons: found && found.status !== "ended"
      ? html`${
        found.status === "set aside"
          ? html`<button class="primary" title="Retry (r)" @click=${() => retry(found)}>Retry</button>`
          : nothing
      }
        <button class="danger" @click=${() => abandon(found)}>Abandon…</button>`
      : nothing,
    content: resourceView(instance, load, contentView),
    keys: (event) => event.key === "r" && found?.status === "set aside" && void retry(found),
  });
}
