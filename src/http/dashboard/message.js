import { number, time } from "./format.js";
import { jsonView } from "./json.js";
import { html, nothing } from "./libraries.js";
import { factsView, streamLink, traceLink } from "./parts.js";

/** A payload as the code reads it now, beside what is stored, if they differ. */
export function payloadView({ payload, raw, unreadable, schemaVersion }) {
  if (raw === "") return html`<p class="muted">The payload is large, and is not shown.</p>`;
  const isSame = !unreadable && JSON.stringify(payload) === JSON.stringify(JSON.parse(raw));
  if (isSame) {
    return html`<section class="stack"><h3>Payload <small>version ${schemaVersion}, as it is stored</small></h3>${
      jsonView(raw, { label: "Payload" })
    }</section>`;
  }
  return html`
    <div class="beside">
      <section><h3>Payload <small>as the code reads it now</small></h3>${unreadable
        ? html`<p class="note bad text">${unreadable}</p>`
        : jsonView(payload, { label: "Payload", other: raw })}</section>
      <section><h3>Stored <small>version ${schemaVersion}</small></h3>${jsonView(raw, {
        label: "Stored payload",
        other: unreadable ? undefined : payload,
      })}</section>
    </div>
  `;
}

/** Whatever else is known of a message; `more` are further facts, shown first. */
export function messageView(message, more = []) {
  const { stream, version, position, time: made, id, correlationId, causationId, metadata } = message;
  const mono = (text) => html`<span class="mono">${text}</span>`;
  return html`${
    factsView([
      ...more,
      ["Stream", streamLink(stream)],
      ["Version in it", number(version)],
      ["Position", mono(number(position))],
      ["Written", time(made)],
      ["Id", mono(id)],
      ["Correlation", mono(correlationId)],
      causationId === null ? null : ["Caused by", traceLink(causationId, mono(causationId))],
      ["Led to", traceLink(id, "what this message led to")],
      ["Part of", traceLink(correlationId, "everything with its correlation")],
    ])
  }${
    metadata === null
      ? nothing
      : html`<details><summary>Metadata</summary>${jsonView(metadata, { label: "Metadata" })}</details>`
  }`;
}
