import { count, duration, fromNow, number } from "./format.js";
import { html, nothing } from "./libraries.js";
import { badge, factsView, panelView } from "./parts.js";
import { at } from "./router.js";
import { awaitedCode, stateOf } from "./warnings.js";

/** What is known of a group. */
export function groupPanel(one, close) {
  const {
    group,
    kind,
    checkpoint,
    lagMessages,
    lagSeconds,
    retrying,
    pending,
    dead,
    held,
    resting,
    running,
    workers,
  } = one;
  const waits = awaitedCode(one);
  const content = html`
    ${factsView([
      ["State", badge(...stateOf(one))],
      ["Fed by", kind === "stream" ? "the broker" : "the event store"],
      ["Done up to", number(checkpoint)],
      ["Lag", lagMessages === 0 ? "none" : `${count(lagMessages, "message")}, ${duration(lagSeconds * 1_000)}`],
      ["Workers", `${running} of ${workers}`],
      [
        "Held by",
        held.length === 0
          ? "nobody"
          : html`<ul>${
            held.map(({ partition, process }) =>
              html`<li class="mono">${workers === 1 ? nothing : `${partition + 1}/${workers} `}${process}</li>`
            )
          }</ul>`,
      ],
    ])}
        ${resting.map(({ partition, until, reason }) =>
          html`
            <p
              class="note bad">Worker ${partition +
                1} kept ending: <span class="text">${reason}</span>. It starts again ${fromNow(Date.parse(until))}.</p>
          `
        )}
        ${waits.length === 0 ? nothing : html`
          <h3>Waits for code that knows</h3>
          <ul>${waits.map(([type, n]) => html`<li><b class="mono">${type}</b>: ${count(n, "message")}</li>`)}</ul>
        `}
        <ul class="links">
      <li><a href=${at("dead-letters", { group })}>${count(dead, "dead letter")}</a></li>
      <li><a href=${at("parked", { group })}>${number(retrying)} retrying, ${number(pending)} waiting</a></li>
    </ul>
  `;
  return panelView({ title: group, label: `Group ${group}`, content, close });
}
