import { part, read } from "./api.js";
import { number } from "./format.js";
import { html } from "./libraries.js";
import { List } from "./list.js";
import { Pager } from "./pager.js";
import { emptyView } from "./parts.js";
import { at, go, route } from "./router.js";

let shown = null;

const name = () => route.parts[1];

const list = new List({
  label: "Rows",
  kind: "projected",
  key: ({ key }) => key,
  href: ({ key }) => at(["projections", name(), "row", key]),
  open: ({ key }) => go(["projections", name(), "row", key]),
  more: () => pager.more(),
  columns: [
    { name: "Key", kind: "name mono", cell: ({ key }) => key },
    { name: "Row", kind: "payload mono", cell: ({ row }) => JSON.stringify(row) },
    { name: "Position", kind: "num position", cell: ({ position }) => number(position) },
  ],
});

const pager = new Pager(list, {
  one: "row",
  read: async (after, signal) => {
    const { rows, next } = await read(`projections/${part(name())}/rows`, { after, limit: 200 }, signal);
    return { items: rows, next };
  },
});

function find(event) {
  event.preventDefault();
  const key = new FormData(event.currentTarget).get("key").trim();
  if (key !== "") go(["projections", name(), "row", key]);
}

/** The rows that readers see. */
export const rows = {
  enter() {
    if (shown === name()) return;
    shown = name();
    list.rewind();
    pager.clear();
    void pager.load();
  },
  leave() {
    shown = null;
  },
  view: () =>
    html`
      <p class="back"><a href=${at("projections", { name: name() })}>Projections</a></p>
      <div class="bar"><h1>Rows of ${name()}</h1><span class="spring"></span>
            <form class="bar" @submit=${find}><input type="search" name="key" data-filter placeholder="Key" aria-label="Key" autocomplete="off" spellcheck="false"><button>Show</button></form>
            <button @click=${pager.load}>Refresh</button></div>
      <div class="split fill">
        <section aria-label="List">${pager.view(() =>
          emptyView("No rows", "Its events have made none yet, or none that is left.")
        )}</section>
      </div>
    `,
};
