import { read } from "./api.js";
import { diff } from "./diff.js";
import { count, number } from "./format.js";
import { projectionPanel } from "./generations.js";
import { html, nothing } from "./libraries.js";
import { List } from "./list.js";
import { badge, emptyView, filterView, resourceView } from "./parts.js";
import { Resource } from "./resource.js";
import { at, choose, route } from "./router.js";
import { row } from "./row.js";
import { rows } from "./rows.js";
import { afterPaint, repaint } from "./screen.js";

/** How often it is read again while a generation is being built, in milliseconds. */
const WATCHED = 1_000;

const page = new Resource();
let timer;
let filter = "";

const open = () => route.params.get("name");

/** What somebody should know about a projection, in a word. */
function stateOf({ generations }) {
  const active = generations.find(({ isActive }) => isActive);
  const candidate = generations.findLast(({ isActive, state }) => !isActive && state !== "dropped");
  if (!active) return ["not built", "warn"];
  if (candidate?.error) return ["build stopped", "bad"];
  if (candidate?.waitsForSwap) return ["waits for a swap", "warn"];
  if (candidate?.state === "building") return ["building", ""];
  if (active.held > 0) return ["holds messages back", "warn"];
  return active.behind > 0 ? ["behind", ""] : ["up to date", "good"];
}

const list = new List({
  label: "Projections",
  kind: "projections",
  key: ({ name }) => name,
  href: ({ name }) => at("projections", { name }),
  open: ({ name }) => choose({ name }, { isStep: true }),
  isOpen: ({ name }) => name === open(),
  columns: [
    { name: "Projection", kind: "name", cell: ({ name }) => name },
    { name: "State", kind: "state", cell: (one) => badge(...stateOf(one)) },
    {
      name: "Readers see",
      kind: "generation mono",
      cell: ({ generations }) => generations.find(({ isActive }) => isActive)?.generation ?? "–",
    },
    { name: "Generations", kind: "num others", cell: ({ generations }) => number(generations.length) },
    {
      name: "Behind",
      kind: "num behind",
      cell: ({ generations }) => number(generations.find(({ isActive }) => isActive)?.behind ?? 0),
    },
    { name: "Kept by", kind: "group", cell: ({ group }) => group },
  ],
});

/** Each projection once, with its newest code and its generations. */
function projectionsOf({ projections, generations }) {
  const newest = new Map();
  for (const one of projections) {
    if (!(newest.get(one.name)?.version > one.version)) newest.set(one.name, one);
  }
  return [...newest.values()].sort((a, b) => a.name < b.name ? -1 : 1).map((one) => ({
    ...one,
    generations: generations.filter(({ projection }) => projection === one.name),
  }));
}

async function load() {
  clearTimeout(timer);
  const found = await page.load((signal) => read("projections", {}, signal));
  const isMoving = found?.generations.some(({ state, behind }) => state === "building" || behind > 0);
  if (isMoving && entered === all) timer = setTimeout(load, WATCHED);
}

function close() {
  choose({ name: null }, { isStep: true });
  list.focusSoon();
}

function contentView(value) {
  const known = projectionsOf(value);
  list.show(known.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase())));
  const one = known.find(({ name }) => name === open());
  const none = known.length === 0
    ? emptyView(
      "No projections",
      "A projection is what a projector makes of events, for reading; this domain has none.",
    )
    : emptyView("No such projection", `None of ${number(known.length)} has “${filter}” in its name.`);
  const typed = (text) => {
    filter = text;
    repaint();
  };
  return html`
    <div class="bar tools">${filterView({ label: "Filter by name", value: filter, input: typed })}</div>
    <div
      class="split fill ${one ? "with-panel" : ""}"><section aria-label="List">${list.view(
        none,
      )}<p class="more">${count(known.length, "projection")}</p></section>${one
        ? projectionPanel(one, { swap: value.swap, close, changed: load })
        : nothing}</div>
  `;
}

const all = {
  enter() {
    void load();
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
  },
  leave() {
    clearTimeout(timer);
  },
  escape() {
    if (!open()) return false;
    close();
    return true;
  },
  view: () => html`<h1>Projections</h1>${resourceView(page, load, contentView)}`,
};

const place = () => ({ rows, row, diff })[route.parts[2]] ?? all;
let entered = null;

/** What projectors make of events. */
export const projections = {
  title: "Projections",
  titleNow: () => route.parts[1] ?? "Projections",
  enter() {
    if (entered !== place()) entered?.leave?.();
    entered = place();
    entered.enter();
  },
  leave() {
    entered?.leave?.();
    entered = null;
  },
  escape: () => place().escape?.() ?? false,
  view: () => place().view(),
};
