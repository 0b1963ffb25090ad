import { change, read } from "./api.js";
import { count, number, time } from "./format.js";
import { html, nothing } from "./libraries.js";
import { letterPanel, showLetter } from "./letter.js";
import { List } from "./list.js";
import { known } from "./live.js";
import { announce, ask, attempt } from "./notices.js";
import { debounced, emptyView, filterView, resourceView } from "./parts.js";
import { Resource } from "./resource.js";
import { at, choose, route } from "./router.js";
import { afterPaint } from "./screen.js";

const page = new Resource();
const more = new Resource();
let next = null;
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
  more: () => loadMore(),
  keys: { r: (letter) => replaySome(list.selected.size > 0 ? [...list.selected] : [letter.id]) },
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

async function load() {
  const which = chosen();
  const found = await page.load((signal) => read("dead-letters", { ...which, limit: 200 }, signal));
  if (!found) return;
  more.clear();
  [next, counts] = [found.next, found.counts];
  list.show(found.letters, totalOf());
  // A filter looks through a part at a time; it may have found nothing in the first.
  if (list.items.length < 20) void loadMore();
}

async function loadMore() {
  if (next === null || more.isLoading || page.isLoading) return;
  const found = await more.load((signal) => read("dead-letters", { ...chosen(), before: next, limit: 500 }, signal));
  if (!found) return;
  next = found.next;
  list.show([...list.items, ...found.letters], totalOf());
  if (found.letters.length === 0) void loadMore();
}

/** How many there are, if that is known: a filter by text does not count. */
function totalOf() {
  const { group, text } = chosen();
  if (text !== "") return null;
  return group === "" ? Object.values(counts).reduce((sum, n) => sum + n, 0) : counts[group] ?? 0;
}

function forget(ids) {
  const gone = new Set(ids);
  for (const id of ids) list.selected.delete(id);
  list.show(list.items.filter(({ id }) => !gone.has(id)));
  if (gone.has(open())) close();
  void load();
}

function close() {
  choose({ id: null }, { isStep: true });
  list.focusSoon();
}

const replayedText = ({ replayed, left }) =>
  left === 0
    ? `Replayed ${count(replayed, "dead letter")}`
    : `Replayed ${number(replayed)}; left ${number(left)}, whose process was told that the command was given up`;

/** Hands some back to their groups. */
async function replaySome(ids, { anyway = false } = {}) {
  await attempt(async () => {
    const letter = ids.length === 1 ? list.items.find(({ id }) => id === ids[0]) : undefined;
    const done = await change("dead-letters/replay", { ids, anyway });
    const link = letter && done.replayed > 0
      ? { text: "See what came of it", href: at(["log", "trace", String(letter.position)]) }
      : null;
    announce(replayedText(done), { more: link, isError: done.replayed === 0 });
    if (done.left === 0) forget(ids);
    else await load();
  });
}

async function replayAll() {
  const { group, text } = chosen();
  const isSure = await ask({
    title: `Replay all of ${group}?`,
    text: text === ""
      ? `${
        count(counts[group] ?? 0, "message")
      } go back to ${group}, and to no other group, the oldest first. What fails again comes back here.`
      : `All dead letters of ${group} that match “${text}” go back to it, the oldest first. What fails again comes back here.`,
    action: "Replay all",
  });
  if (!isSure) return;
  await attempt(async () => {
    announce(replayedText(await change("dead-letters/replay", { group, ...(text !== "" && { text }) })));
    list.rewind();
    await load();
  });
}

async function purge(which, n, of) {
  const isSure = await ask({
    title: `Purge ${count(n, "dead letter")}?`,
    text:
      `${of} will never be handled by their group. The events stay in the log; what is purged cannot be replayed any more.`,
    action: n === 1 ? "Purge it" : `Purge ${number(n)}`,
    isDangerous: true,
  });
  if (!isSure) return;
  await attempt(async () => {
    const { purged, aside } = await change("dead-letters/purge", which);
    const rest = aside > 0 ? `; ${count(aside, "message")} of instances stay set aside: see Processes` : "";
    announce(`Purged ${count(purged, "dead letter")}${rest}`);
    if (which.ids) forget(which.ids);
    else await load();
  });
}

function buttonsView() {
  const { group, text } = chosen();
  const ids = [...list.selected];
  if (ids.length > 0) {
    return html`
      <span class="chosen">${number(ids.length)} selected</span>
      <button class="primary" @click=${() => replaySome(ids)}>Replay ${number(ids.length)}</button>
      <button class="danger" @click=${() => purge({ ids }, ids.length, "What is selected")}>Purge ${number(
        ids.length,
      )}…</button>
      <button class="plain" @click=${() => {
        list.selected.clear();
        list.focusSoon();
      }}>Clear</button>
    `;
  }
  if (group === "" || list.items.length === 0) return nothing;
  return html`<button @click=${replayAll}>Replay all of ${group}…</button>
    ${
    text === ""
      ? html`<button class="danger" @click=${() =>
        purge({ group }, counts[group] ?? 0, `All dead letters of ${group}`)}>Purge all…</button>`
      : nothing
  }`;
}

function toolbarView() {
  const { group, text } = chosen();
  const its = Object.entries({ ...(group && { [group]: 0 }), ...counts }).sort(([a], [b]) => a < b ? -1 : 1);
  return html`<div class="bar tools">
    <select aria-label="Group" .value=${group} @change=${(event) => {
    list.rewind();
    choose({ group: event.currentTarget.value, id: null }, { isStep: true });
  }}><option value="">All groups</option>${
    its.map(([name, n]) => html`<option value=${name} ?selected=${name === group}>${name} (${number(n)})</option>`)
  }</select>
    ${filterView({ label: "Filter by type, stream, error or id", value: text, input: typed })}
    <span class="spring"></span>${buttonsView()}</div>`;
}

const typed = debounced((text) => {
  list.rewind();
  choose({ text, id: null });
});

function listView() {
  const { group, text } = chosen();
  const none = text !== "" || group !== ""
    ? emptyView(
      next === null ? "Nothing matches" : "Looking further…",
      text !== ""
        ? `No dead letter${group ? ` of ${group}` : ""} has “${text}” in its type, stream, error or id.`
        : `${group} has given up nothing.`,
      html`<a href=${at("dead-letters")}>Show all</a>`,
    )
    : emptyView(
      "No dead letters",
      "A message that a group has tried too often, or cannot read, is kept here with its error, until somebody replays or purges it.",
    );
  return html`${list.view(none)}<p class="more" aria-live="polite">${
    more.error
      ? html`<span class="bad">${more.error.message}</span> <button @click=${loadMore}>Try again</button>`
      : list.items.length === 0
      ? nothing
      : next === null
      ? count(list.items.length, "dead letter")
      : `${number(list.items.length)}${totalOf() === null ? "" : ` of ${number(totalOf())}`} shown; scroll for more`
  }</p>`;
}

/** What groups have given up. */
export const deadLetters = {
  title: "Dead letters",
  enter() {
    const which = JSON.stringify(chosen());
    if (which !== shownFor) {
      shownFor = which;
      void load();
    }
    showLetter(open());
    const index = list.items.findIndex(({ id }) => id === open());
    if (index >= 0) list.active = index;
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
    else list.focusSoon();
  },
  leave() {
    shownFor = null;
    list.selected.clear();
  },
  /** Others come while somebody looks. */
  heard() {
    const total = known()?.groups.reduce((sum, { dead }) => sum + dead, 0);
    const before = Object.values(counts).reduce((sum, n) => sum + n, 0);
    if (total !== undefined && total !== before && list.isAtRest && !page.isLoading && !page.error) void load();
  },
  escape() {
    if (!open()) return false;
    close();
    return true;
  },
  view() {
    const id = open();
    return html`
      <div class="bar">
        <h1>Dead letters</h1>
      </div>${toolbarView()}
            <div class="split fill ${id ? "with-panel" : ""}">
              <section aria-label="List">${resourceView(page, load, listView)}</section>
              ${id
                ? letterPanel({
                  close,
                  replay: (letter, anyway) => replaySome([letter.id], { anyway }),
                  purge: (letter) => purge({ ids: [letter.id] }, 1, "This message"),
                })
                : nothing}
            </div>
    `;
  },
};
