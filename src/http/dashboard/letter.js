import { part, read } from "./api.js";
import { count, number, time } from "./format.js";
import { html, nothing } from "./libraries.js";
import { messageView, payloadView } from "./message.js";
import { ask } from "./notices.js";
import { panelView, resourceView } from "./parts.js";
import { Resource } from "./resource.js";
import { at } from "./router.js";

const letter = new Resource();
let shown = null;

const load = () => letter.load((signal) => read(`dead-letters/${part(shown)}`, {}, signal));

/** Reads a dead letter to show it; `null`: none. */
export function showLetter(id) {
  if (id === shown) return;
  shown = id;
  letter.clear();
  if (id !== null) void load();
}

function attemptsView(attempts) {
  return html`
    <h3>${count(attempts.length, "attempt")}</h3>
    <ol class="attempts">${attempts.map(({ at: when, error }, i) =>
      html`<li><b>${number(i + 1)}</b><span class="when">${time(when)}</span><span class="text">${error}</span></li>`
    )}</ol>
  `;
}

function contentView({ group, message, reason, error, stack, attempts, deadAt, told }) {
  return html`
    ${told
      ? html`<p class="note warn">Instance <b class="mono">${told.id}</b> of a process was told that this command was given
        up, and may have undone what it is part of. To replay it may do what was undone.</p>`
      : nothing}
    <h3>Error ${reason === "handler failed" ? nothing : html`<small>${reason}</small>`}</h3>
    <p class="fault text">${error}</p>
    ${stack
      ? html`
        <details>
          <summary>Stack</summary>
          <pre class="mono" tabindex="0">${stack}</pre>
        </details>
      `
      : nothing}
    ${payloadView(message)}
    ${attemptsView(attempts)}
    <h3>Message</h3>
    ${messageView(message, [["Group", group], ["Given up", time(deadAt)]])}
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
        `The process instance “${found.told.id}” was told that this command was given up. If it has undone its steps, ` +
        "this does one of them again.",
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
        <a class="button" href=${at(["log", "trace", found.message.id])}>Trace</a>
        <button class="danger" @click=${() => purge(found)}>Purge…</button>
      `
      : nothing,
    content: resourceView(letter, load, contentView),
  });
}
