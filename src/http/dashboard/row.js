import { part, read } from "./api.js";
import { count, number, time } from "./format.js";
import { jsonView } from "./json.js";
import { html, nothing } from "./libraries.js";
import { payloadView } from "./message.js";
import { resourceView, streamLink, traceLink } from "./parts.js";
import { Resource } from "./resource.js";
import { at, route } from "./router.js";

const found = new Resource();
let shown = null;

const place = () => [route.parts[1], route.parts[3] ?? ""];

const load = () => {
  const [name, key] = place();
  return found.load((signal) => read(`projections/${part(name)}/rows/${part(key)}`, {}, signal));
};

function eventView(message) {
  const { type, stream, version, position, time: made, id } = message;
  return html`
    <li>
      <header><b>${type}</b> <span class="when">${time(made)}</span> ${streamLink(stream)} <span class="muted">${number(
        version,
      )}</span>
          <span class="spring"></span><span class="muted mono">${number(position)}</span> ${traceLink(
            id,
            "its trace",
          )}</header>
      <details><summary>Payload</summary>${payloadView(message)}</details>
    </li>
  `;
}

function contentView({ key, handler, row, position, events }) {
  return html`
    <section class="stack"><h2 class="mono">${key}</h2>${row === null
      ? html`<p class="muted">There is no such row any more; these events name its key.</p>`
      : html`<p class="muted">as of position ${number(position)}, kept by ${handler}</p>${
        jsonView(row, { label: "Row" })
      }`}</section>
    <section class="stack"><h2>Why it is so</h2><p class="muted">${events.length === 0
      ? "No event has its key as the id of its stream, or in a field of that name."
      : html`${
        count(events.length, "event")
      } that ${handler} handles for this key, the newest first. The trace of each leads to the command behind it.`}</p>${events
        .length === 0
      ? nothing
      : html`<ol class="history">${events.map(eventView)}</ol>`}</section>
  `;
}

/** One row, and the events behind it. */
export const row = {
  enter() {
    const which = place().join("\0");
    if (which === shown) return;
    shown = which;
    found.clear();
    void load();
  },
  leave() {
    shown = null;
  },
  view: () =>
    html`<p class="back"><a href=${at(["projections", place()[0], "rows"])}>Rows of ${
      place()[0]
    }</a></p><h1>Why is this row so?</h1>${resourceView(found, load, contentView)}`,
};
