import { change, part } from "./api.js";
import { count, number, time } from "./format.js";
import { html, nothing } from "./libraries.js";
import { announce, ask, attempt } from "./notices.js";
import { badge, factsView, panelView } from "./parts.js";
import { at } from "./router.js";

/** Swaps, or rolls back; asks again if what readers would see then lacks something. */
async function turn(name, action, body, changed) {
  const path = `projections/${part(name)}/${action}`;
  const said = ({ to }) => announce(`Readers of ${name} see generation ${to} now.`);
  await attempt(async () => {
    try {
      said(await change(path, body));
    } catch (error) {
      if (!error.body?.isLacking) throw error;
      const isSure = await ask({
        title: `Let readers see less?`,
        text: `${error.message}. Readers would not see it until that generation has caught up.`,
        action: "Swap anyway",
        isDangerous: true,
      });
      if (!isSure) return;
      said(await change(path, { ...body, stale: true }));
    }
  });
  await changed();
}

async function rebuild(name, changed) {
  const isSure = await ask({
    title: `Rebuild ${name}?`,
    text:
      "A new generation is built from the log beside the present one. Readers see no difference until it is swapped in.",
    action: "Rebuild",
  });
  if (!isSure) return;
  await attempt(async () => {
    const { generation } = await change(`projections/${part(name)}/rebuild`);
    announce(`Builds generation ${generation} of ${name}.`);
  });
  await changed();
}

async function drop(name, generation, changed) {
  const isSure = await ask({
    title: `Drop generation ${generation} of ${name}?`,
    text:
      "Its rows are deleted, and nobody can go back to it. It can be built again from the log, which takes its time.",
    action: "Drop it",
    isDangerous: true,
  });
  if (!isSure) return;
  await attempt(async () => {
    const { done } = await change(`projections/${part(name)}/drop`, { generation });
    announce(
      `Dropped generation ${generation} of ${name}.${
        done === "busy" ? " Its rows are deleted when its group has stopped." : ""
      }`,
    );
  });
  await changed();
}

function stateView({ isActive, isPinned, state, error, waitsForSwap, isRun }) {
  return html`${isActive ? badge("readers see it", "good") : nothing} ${isPinned ? badge("pinned") : nothing}
    ${
    state === "building"
      ? badge(error ? "stopped" : "building", error ? "bad" : "")
      : state === "dropped"
      ? badge("being deleted")
      : nothing
  }
    ${waitsForSwap ? badge("waits for a swap", "warn") : nothing} ${
    !isRun && state !== "dropped" ? badge("nobody feeds it", "warn") : nothing
  }`;
}

function generationView(name, one, changed) {
  const { generation, state, isActive, position, behind, held, swappedAt, error } = one;
  const isOther = !isActive && state !== "dropped";
  return html`<li><header><b class="mono">${generation}</b> ${stateView(one)}</header>
    ${
    factsView([
      ["Up to", position === null ? "not known" : number(position)],
      ["Behind", behind === 0 ? "nothing" : count(behind, "message")],
      held === 0 ? null : ["Held back", html`<span class="warn">${count(held, "message")}</span>`],
      swappedAt ? ["Swapped in", time(swappedAt)] : null,
    ])
  }${error === null ? nothing : html`<p class="fault text">${error}</p>`}${
    isOther
      ? html`<div class="buttons"><a class="button" href=${
        at(["projections", name, "diff"], { generation })
      }>Compare</a>
        <button @click=${() => turn(name, "swap", { generation }, changed)}>Swap in</button>
        <button class="danger" @click=${() => drop(name, generation, changed)}>Drop…</button></div>`
      : nothing
  }</li>`;
}

/** A projection and its generations. */
export function projectionPanel({ name, version, key, group, fields, indexes, generations }, { swap, close, changed }) {
  const isBack = generations.some(({ isActive, swappedAt, state }) =>
    !isActive && swappedAt !== null && state !== "dropped"
  );
  const content = html`<h3>Generations</h3>
    ${
    generations.length === 0
      ? html`<p class="muted">A server builds the first one when it starts.</p>`
      : html`<ul class="generations">${
        [...generations].reverse().map((one) => generationView(name, one, changed))
      }</ul>`
  }
    <p class="muted">${
    swap === "manual"
      ? "A new generation waits until somebody swaps it in."
      : "A new generation is swapped in by itself once it has everything."
  }</p>
    <h3>Code</h3>${
    factsView([
      ["Version", number(version)],
      ["Kept by", group],
      ["Key", html`<span class="mono">${key}</span>`],
      [
        "Fields",
        html`<span class="mono">${
          fields.map((field) => `${field.name}: ${field.type}`).join(", ") || "not declared"
        }</span>`,
      ],
      indexes.length === 0
        ? null
        : ["Indexes", html`<span class="mono">${indexes.map((one) => one.join(" + ")).join(", ")}</span>`],
    ])
  }`;
  const buttons = html`<a class="button primary" href=${at(["projections", name, "rows"])}>Rows</a>
    <button @click=${() => rebuild(name, changed)}>Rebuild…</button>
    ${isBack ? html`<button @click=${() => turn(name, "rollback", {}, changed)}>Roll back</button>` : nothing}`;
  return panelView({ title: name, label: "Projection", content, buttons, close });
}
