import { read } from "./api.js";
import { number, time } from "./format.js";
import { letterActions } from "./letter_actions.js";
import { letterPanel, showLetter } from "./letter.js";
import { html, nothing } from "./libraries.js";
import { List } from "./list.js";
import { known } from "./live.js";
import { Pager } from "./pager.js";
import { debounced, emptyView, filterView } from "./parts.js";
import { at, choose, route } from "./router.js";
import { afterPaint } from "./screen.js";

let counts = {};
let shownFor = null;

const chosen = () => ({ group: route.params.get("group") ?? "", text: route.params.get("text") ?? "" });
const open = () => route.params.get("id");

const list = new List({
  label: "Dead letters",
  kind: "letters",
  canSelect: true,
  key: ({ id }) => id,
  href: ({ id }) => at("dead-letters", { ...chosen(), id }),
  open: ({ id }) => choose({ id }, { isStep: true }),
  isOpen: ({ id }) => id === open(),
  more: () => pager.more(),
  keys: { r: (letter) => actions.replay(list.selected.size > 0 ? [...list.selected] : [letter.id]) },
  columns: [
    { name: "Message", kind: "name", cell: ({ type }) => type },
    { name: "Stream", kind: "stream mono", cell: ({ stream }) => stream },
    {
      name: "Error",
      kind: "error",
      cell: ({ reason, error }) => reason === "handler failed" ? error : `${reason}: ${error}`,
    },
    { name: "Group", kind: "group", cell: ({ group }) => group },
    { name: "Attempts", kind: "num attempts", cell: ({ attempts }) => number(attempts) },
    { name: "Given up", kind: "when", cell: ({ deadAt }) => time(deadAt) },
  ],
});

const pager = new Pager(list, {
  one: "dead letter",
  read: async (before, signal) => {
    const limit = before === null ? 200 : 500;
    const found = await read("dead-letters", { ...chosen(), before, limit }, signal);
    counts = found.counts;
    return { items: found.letters, next: found.next, total: totalOf() };
  },
});

/** How many there are, if that is known: a filter by text does not count. */
function totalOf() {
  const { group, text } = chosen();
  if (text !== "") return null;
  return group === "" ? Object.values(counts).reduce((sum, n) => sum + n, 0) : counts[group] ?? 0;
}

/** Some are gone, or others came. */
function changed(ids) {
  const gone = new Set(ids);
  for (const id of ids) list.selected.delete(id);
  list.show(list.items.filter(({ id }) => !gone.has(id)), list.total);
  if (gone.has(open())) close();
  else list.focusSoon();
  void pager.load();
}

function close() {
  choose({ id: null }, { isStep: true });
  list.focusSoon();
}

const actions = letterActions({ find: (id) => list.items.find((one) => one.id === id), changed });

function buttonsView() {
  const { group, text } = chosen();
  const ids = [...list.selected];
  if (ids.length > 0) {
    const clear = () => {
      list.selected.clear();
      list.focusSoon();
    };
    return html`
      <span class="chosen">${number(ids.length)} selected</span>
      <button class="primary" @click=${() => actions.replay(ids)}>Replay ${number(ids.length)}</button>
      <button class="danger" @click=${() => actions.purge(ids, "What is selected")}>Purge ${number(
        ids.length,
      )}…</button>
      <button class="plain" @click=${clear}>Clear</button>
    `;
  }
  if (group === "" || list.items.length === 0) return nothing;
  const n = counts[group] ?? 0;
  return html`<button @click=${() => actions.replayAll(group, text, n)}>Replay all${
    text === "" ? nothing : " that match"
  }…</button>
    ${
    text === "" ? html`<button class="danger" @click=${() => actions.purgeAll(group, n)}>Purge all…</button>` : nothing
  }`;
}

const typed = debounced((text) => {
  list.rewind();
  choose({ text, id: null });
});

function toolbarView() {
  const { group, text } = chosen();
  const its = Object.entries({ ...(group && { [group]: 0 }), ...counts }).sort(([a], [b]) => a < b ? -1 : 1);
  const selected = (event) => {
    list.rewind();
    choose({ group: event.currentTarget.value, id: null }, { isStep: true });
  };
  return html`<div class="bar tools">
    <select aria-label="Group" @change=${selected}><option value="" ?selected=${group === ""}>All groups</option>${
    its.map(([name, n]) => html`<option value=${name} ?selected=${name === group}>${name} (${number(n)})</option>`)
  }</select>
    ${filterView({ label: "Filter by type, stream, error or id", value: text, input: typed })}
    <span class="spring"></span>${buttonsView()}</div>`;
}

function emptyList() {
  const { group, text } = chosen();
  if (text === "" && group === "") {
    return emptyView(
      "No dead letters",
      "A message that a group has tried too often, or cannot read, is kept here with its error, until somebody replays " +
        "or purges it.",
    );
  }
  const what = text === ""
    ? `${group} has given up nothing.`
    : `No dead letter${group ? ` of ${group}` : ""} has “${text}” in its type, stream, error or id.`;
  return emptyView(
    text === "" ? "No dead letters" : "Nothing matches",
    what,
    html`<a href=${at("dead-letters")}>Show all</a>`,
  );
}

/** What groups have given up. */
export const deadLetters = {
  title: "Dead letters",
  enter() {
    const which = JSON.stringify(chosen());
    if (which !== shownFor) {
      shownFor = which;
      void pager.load();
    }
    showLetter(open());
    const index = list.items.findIndex(({ id }) => id === open());
    if (index >= 0) list.active = index;
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
  },
  leave() {
    shownFor = null;
    list.selected.clear();
    showLetter(null);
  },
  /** Others come while somebody looks. */
  heard() {
    const total = known()?.groups.reduce((sum, { dead }) => sum + dead, 0);
    const before = Object.values(counts).reduce((sum, n) => sum + n, 0);
    if (total !== undefined && total !== before && list.isAtRest && pager.isAtRest) void pager.load();
  },
  escape() {
    if (!open()) return false;
    close();
    return true;
  },
  view() {
    const id = open();
    const panel = () =>
      letterPanel({
        close,
        replay: ({ id }, anyway) => actions.replay([id], anyway),
        purge: ({ id }) => actions.purge([id], "This message"),
      });
    return html`<h1>Dead letters</h1>${toolbarView()}
      <div class="split fill ${id ? "with-panel" : ""}"><section aria-label="List">${pager.view(emptyList)}</section>${
      id ? panel() : nothing
    }</div>`;
  },
};
