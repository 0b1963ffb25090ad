import { change, read } from "./api.js";
import { fromNow, number, time, timeText } from "./format.js";
import { html } from "./libraries.js";
import { List } from "./list.js";
import { announce, ask, attempt } from "./notices.js";
import { emptyView, filterView, resourceView } from "./parts.js";
import { Resource } from "./resource.js";
import { at } from "./router.js";
import { repaint } from "./screen.js";

/** How many are read: those that are due first. */
const MOST = 1_000;

const page = new Resource();
let filter = "";
let isRead = false;

const list = new List({
  label: "Timers and scheduled commands",
  kind: "schedule",
  key: ({ key }) => key,
  href: ({ key }) => at(["log", "trace", key]),
  open: ({ key }) => location.hash = at(["log", "trace", key]),
  keys: { m: (one) => move(one), c: (one) => cancel(one) },
  columns: [
    { name: "Key", kind: "name mono", cell: ({ name }) => name },
    { name: "Message", kind: "type", cell: ({ type }) => type },
    { name: "Stream", kind: "stream mono", cell: ({ stream }) => stream },
    {
      name: "Due",
      kind: "due",
      cell: ({ dueAt }) => html`${time(dueAt)} <span class="muted">${fromNow(dueAt)}</span>`,
    },
    {
      name: "",
      kind: "buttons",
      cell: (one) =>
        html`
          <button tabindex="-1" title="Move (m)" aria-label="Move ${one.name}" @click=${() => move(one)}>Move…</button>
          <button class="danger" tabindex="-1" title="Cancel (c)" aria-label="Cancel ${one.name}"
            @click=${() => cancel(one)}>Cancel…</button>
        `,
    },
  ],
});

const load = () => page.load((signal) => read("schedule", { limit: MOST }, signal));

/** A time as fields for local times take it. */
function local(ms) {
  const apart = new Date(ms).getTimezoneOffset() * 60_000;
  return new Date(ms - apart).toISOString().slice(0, 19);
}

async function move({ key, name, dueAt }) {
  const given = await ask({
    title: `Move “${name}”`,
    text: `It is due ${timeText(dueAt)}, ${fromNow(dueAt)}. At a time that has passed, it comes at once.`,
    action: "Move it",
    field: { label: "To", type: "datetime-local", value: local(dueAt) },
  });
  if (given === null) return;
  const to = new Date(given).getTime();
  await attempt(async () => {
    await change("schedule/move", { key, at: to });
    announce(`Moved “${name}” to ${timeText(to)}.`);
    await load();
  });
}

async function cancel({ key, name, type }) {
  const isSure = await ask({
    title: `Cancel “${name}”?`,
    text: `${type} will not come. What waits for it waits for ever, if nothing else ends that.`,
    action: "Cancel it",
    isDangerous: true,
  });
  if (!isSure) return;
  await attempt(async () => {
    await change("schedule/cancel", { key });
    announce(`Cancelled “${name}”.`);
    await load();
  });
}

function contentView({ scheduled }) {
  const wanted = filter.toLowerCase();
  list.show(
    scheduled.filter((one) => [one.name, one.type, one.stream].some((text) => text.toLowerCase().includes(wanted))),
  );
  const none = scheduled.length === 0
    ? emptyView(
      "Nothing is scheduled",
      "Timers of processes, and commands that are sent for later, wait here until they are due.",
    )
    : emptyView("Nothing matches", `None has “${filter}” in its key, type or stream.`);
  const typed = (text) => {
    filter = text;
    repaint();
  };
  return html`
    <div class="bar tools">${filterView({ label: "Filter by key, type or stream", value: filter, input: typed })}
        <span class="spring"></span><button @click=${load}>Refresh</button></div>
    <div class="split fill">
      <section aria-label="List">${list.view(none)}<p class="more">${scheduled.length < MOST
        ? `${number(scheduled.length)} scheduled`
        : `the first ${number(MOST)} that are due`}</p></section>
    </div>
  `;
}

/** What is to come. */
export const schedule = {
  enter() {
    if (!isRead) void load();
    isRead = true;
  },
  leave() {
    isRead = false;
  },
  view: () => resourceView(page, load, contentView),
};
