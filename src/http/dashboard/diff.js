import { part, read } from "./api.js";
import { count, number, time } from "./format.js";
import { jsonView } from "./json.js";
import { html, nothing } from "./libraries.js";
import { resourceView, traceLink } from "./parts.js";
import { Resource } from "./resource.js";
import { at, route } from "./router.js";

const found = new Resource();
let shown = null;

const place = () => ({ name: route.parts[1], generation: route.params.get("generation") });

const load = () => {
  const { name, generation } = place();
  return found.load((signal) => read(`projections/${part(name)}/diff`, { generation, limit: 50 }, signal));
};

function differenceView({ key, before, after }) {
  const [a, b] = [before, after].map((row) => row?.row ? JSON.parse(row.row) : null);
  const side = (row, other, label) =>
    row === null ? html`<p class="muted">no row</p>` : jsonView(row, { label, ...(other !== null && { other }) });
  return html`
    <li>
      <header><b class="mono">${key}</b></header>
      <div class="beside">
        <section>${side(a, b, `${key} before`)}</section>
        <section>${side(b, a, `${key} after`)}</section>
      </div>
    </li>
  `;
}

function contentView({ before, after, rows, differing, fields, shown: shownRows, events }) {
  const changedFields = Object.entries(fields).sort((a, b) => b[1] - a[1]);
  return html`<p>${
    differing === 0
      ? html`<b>No row differs</b> between generation ${before}, which readers see, and ${after}: ${
        number(rows)
      } rows compared.`
      : html`<b>${count(differing, "row")} of ${
        number(rows)
      }</b> differ between generation <b>${before}</b>, which readers see, and <b>${after}</b>.`
  }</p>
    ${
    changedFields.length === 0
      ? nothing
      : html`<p class="muted">Fields: ${changedFields.map(([name, n]) => `${name} (${number(n)})`).join(", ")}</p>`
  }
    <ol class="history">${shownRows.map(differenceView)}</ol>
    ${
    differing > shownRows.length ? html`<p class="more">and ${number(differing - shownRows.length)} more</p>` : nothing
  }
    ${
    events.length === 0 ? nothing : html`
      <section class="stack">
        <h2>The last events behind the first of them</h2>
        <ul>${events.map(({ type, id, time: made }) => html`<li>${time(made)} ${traceLink(id, type)}</li>`)}</ul>
      </section>
    `
  }`;
}

/** What two generations differ in. */
export const diff = {
  enter() {
    const which = JSON.stringify(place());
    if (which === shown) return;
    shown = which;
    found.clear();
    void load();
  },
  leave() {
    shown = null;
  },
  view: () =>
    html`
      <p class="back"><a href=${at("projections", { name: place().name })}>Projections</a></p>
          <div
        class="bar"><h1>What ${place()
          .name} would become</h1><span class="spring"></span><button @click=${load}>Compare again</button></div>${resourceView(
            found,
            load,
            contentView,
          )}
    `,
};
