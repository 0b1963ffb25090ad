import { part, read } from "./api.js";
import { count, number, time } from "./format.js";
import { jsonView } from "./json.js";
import { html, nothing } from "./libraries.js";
import { ask } from "./notices.js";
import { factsView, panelView, resourceView, streamLink, traceLink } from "./parts.js";
import { Resource } from "./resource.js";

const letter = new Resource();
let shown = null;

const load = () => letter.load((signal) => read(`dead-letters/${part(shown)}`, {}, signal));

/** Reads a dead letter to show it. */
export function showLetter(id) {
  if (id === shown) return;
  shown = id;
  letter.clear();
  if (id !== null) void load();
}

function payloadView({ payload, raw, unreadable, schemaVersion }) {
  if (raw === "") return html`<p class="muted">It is large, and is not shown.</p>`;
  const isSame = !unreadable && JSON.stringify(payload) === JSON.stringify(JSON.parse(raw));
  return html`<div class="beside ${isSame ? "same" : ""}">
    <section><h3>Payload ${
    isSame ? html`<small>as the code reads it, and as stored</small>` : html`<small>as the code reads it now</small>`
  }</h3>${
    unreadable
      ? html`<p class="note bad text">${unreadable}</p>`
      : jsonView(payload, { label: "Payload", other: isSame ? undefined : raw })
  }</section>
    ${
    isSame
      ? nothing
      : html`<section><h3>Stored <small>version ${schemaVersion}</small></h3>${
        jsonView(raw, { label: "Stored payload", other: unreadable ? undefined : payload })
      }</section>`
  }
  </div>`;
}

function attemptsView(attempts) {
  return html`
    <h3>${count(attempts.length, "attempt")}</h3>
    <ol class="attempts">${attempts.map(({ at, error }, i) =>
      html`<li><b>${number(i + 1)}</b><span class="when">${time(at)}</span><span class="text">${error}</span></li>`
    )}</ol>
  `;
}

function contentView({ group, message, reason, error, stack, attempts, deadAt, told }) {
  return html`
    ${told
      ? html`
        <p
          class="note warn">Instance <b class="mono">${told
            .id}</b> of a process was told that this command was given up, and may have undone what it is part of. To replay it may do what was undone.</p>
      `
      : nothing}
    <h3>Error ${reason === "handler failed" ? nothing : html`<small>${reason}</small>`}</h3>
    <p class="fault text">${error}</p>
    ${stack
      ? html`
        <details class="stack">
          <summary>Stack</summary>
          <pre tabindex="0">${stack}</pre>
        </details>
      `
      : nothing}
    ${payloadView(message)}
    ${attemptsView(attempts)}
    <h3>Message</h3>
    ${factsView([
      ["Group", group],
      ["Given up", time(deadAt)],
      ["Stream", streamLink(message.stream)],
      ["Version in it", number(message.version)],
      ["Position", html`<span class="mono">${number(message.position)}</span>`],
      ["Written", time(message.time)],
      ["Id", html`<span class="mono">${message.id}</span>`],
      ["Correlation", html`<span class="mono">${message.correlationId}</span>`],
      ["Led to", traceLink(message.id, "what this message led to")],
      ["Part of", traceLink(message.correlationId, "everything with its correlation")],
    ])}
    ${message.metadata === null
      ? nothing
      : html`<details><summary>Metadata</summary>${jsonView(message.metadata, { label: "Metadata" })}</details>`}
  `;
}

/** One dead letter. */
export function letterPanel({ close, replay, purge }) {
  const found = letter.value;
  const replayIt = async () => {
    if (!found) return;
    if (!found.told) return await replay(found, false);
    const isSure = await ask({
      title: "Replay it anyway?",
      text:
        `The process instance “${found.told.id}” was told that this command was given up. If it has undone its steps, this does one of them again.`,
      action: "Replay anyway",
      isDangerous: true,
    });
    if (isSure) await replay(found, true);
  };
  const keys = (event) => {
    if (event.key !== "r" || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    void replayIt();
  };
  return panelView({
    title: found ? found.message.type : "Dead letter",
    label: "Dead letter",
    close,
    keys,
    buttons: found
      ? html`
        <button class="primary" title="Replay (r)" @click=${replayIt}>${found.told
          ? "Replay anyway…"
          : "Replay"}</button>
        <a class="button" href="#/log/trace/${part(found.message.id)}">Trace</a>
        <button class="danger" @click=${() => purge(found)}>Purge…</button>
      `
      : nothing,
    content: resourceView(letter, load, contentView),
  });
}
