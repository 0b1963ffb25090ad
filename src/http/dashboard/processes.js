import { change, part, read } from "./api.js";
import { count, number, time } from "./format.js";
import { instancePanel, showInstance } from "./instance.js";
import { html, nothing } from "./libraries.js";
import { List } from "./list.js";
import { announce, ask, attempt } from "./notices.js";
import { badge, debounced, emptyView, filterView, resourceView } from "./parts.js";
import { Resource } from "./resource.js";
import { at, choose, route } from "./router.js";
import { schedule } from "./schedule.js";
import { afterPaint, repaint } from "./screen.js";

/** How many instances are read: those first that somebody has to do something about. */
const MOST = 1_000;

const STATUSES = ["running", "undoing", "set aside", "ended"];
const KINDS = { running: "good", undoing: "warn", "set aside": "bad", ended: "" };

const page = new Resource();
let shownFor = null;
let filter = "";

const chosen = () => ({ manager: route.params.get("manager") ?? "", status: route.params.get("status") ?? "" });
const open = () =>
  route.params.has("of") ? { manager: route.params.get("of"), id: route.params.get("id") ?? "" } : null;

const list = new List({
  label: "Instances",
  kind: "instances",
  key: ({ manager, id }) => `${manager} ${id}`,
  href: ({ manager, id }) => at("processes", { ...chosen(), of: manager, id }),
  open: ({ manager, id }) => choose({ of: manager, id }, { isStep: true }),
  isOpen: ({ manager, id }) => manager === open()?.manager && id === open()?.id,
  keys: { r: (one) => one.status === "set aside" && retry(one) },
  columns: [
    { name: "Instance", kind: "name mono", cell: ({ id }) => id },
    { name: "Process", kind: "group", cell: ({ manager }) => manager },
    { name: "Status", kind: "state", cell: ({ status }) => badge(status, KINDS[status]) },
    {
      name: "Timers and errors",
      kind: "error",
      cell: ({ error, timers, waiting }) =>
        error ?? [
          ...timers.length > 0 ? [`timers: ${timers.join(", ")}`] : [],
          ...waiting > 0 ? [`${count(waiting, "event")} wait`] : [],
        ].join("; "),
    },
    { name: "Last input", kind: "when", cell: ({ at: when }) => time(when) },
  ],
});

const load = () => page.load((signal) => read("processes", { ...chosen(), limit: MOST }, signal));

async function changed() {
  showInstance(open(), true);
  await load();
}

async function retry({ manager, id }) {
  await attempt(async () => {
    await change(`processes/${part(manager)}/${part(id)}/retry`);
    announce(`“${id}” tries again.`);
    await changed();
  });
}

async function abandon({ manager, id }) {
  const isSure = await ask({
    title: `Abandon “${id}”?`,
    text: "It ends as it is: its timers are cancelled, nothing is undone, and it hears of nothing any more.",
    action: "Abandon it",
    isDangerous: true,
  });
  if (!isSure) return;
  await attempt(async () => {
    await change(`processes/${part(manager)}/${part(id)}/abandon`);
    announce(`Abandoned “${id}”.`);
    await changed();
  });
}

function close() {
  choose({ of: null, id: null }, { isStep: true });
  list.focusSoon();
}

const typed = debounced((text) => {
  filter = text;
  repaint();
}, 80);

function toolsView(managers) {
  const { manager, status } = chosen();
  const option = (value, now, text = value) => html`<option value=${value} ?selected=${value === now}>${text}</option>`;
  const selected = (name) => (event) =>
    choose({ [name]: event.currentTarget.value, of: null, id: null }, { isStep: true });
  return html`<div class="bar tools">
    <select aria-label="Process" @change=${selected("manager")}>${option("", manager, "All processes")}${
    managers.map((one) => option(one, manager))
  }</select>
    <select aria-label="Status" @change=${selected("status")}>${option("", status, "All but ended")}${
    STATUSES.map((one) => option(one, status))
  }</select>
    ${filterView({ label: "Filter by id", value: filter, input: typed })}</div>`;
}

function contentView({ managers, instances, chosen: matching, total }) {
  list.show(instances.filter(({ id }) => id.toLowerCase().includes(filter.toLowerCase())));
  if (managers.length === 0) {
    return emptyView(
      "No process managers",
      "A process manager takes steps over days, with timers and compensation; this domain has none.",
    );
  }
  const one = open();
  const none = total === 0
    ? emptyView("No instances yet", "An instance begins with an event that its process manager starts with.")
    : emptyView("No such instance", `Of ${count(total, "instance")}, none is what is chosen above.`);
  return html`
    ${toolsView(managers)}<div
      class="split fill ${one ? "with-panel" : ""}"><section aria-label="List">${list.view(
        none,
      )}<p class="more">${matching > instances.length
        ? `${number(instances.length)} of ${number(matching)} shown; choose a process or a status`
        : `${number(matching)} of ${count(total, "instance")}`}</p></section>${one
        ? instancePanel({ close, retry, abandon })
        : nothing}</div>
  `;
}

const isSchedule = () => route.parts[1] === "schedule";

/** Instances of process managers, and what is scheduled. */
export const processes = {
  title: "Processes",
  enter() {
    if (isSchedule()) return schedule.enter();
    const which = JSON.stringify(chosen());
    if (which !== shownFor) void load();
    shownFor = which;
    showInstance(open());
    if (open()) afterPaint(() => document.getElementById("panel")?.focus());
  },
  leave() {
    shownFor = null;
    schedule.leave();
  },
  escape() {
    if (isSchedule() || !open()) return false;
    close();
    return true;
  },
  titleNow: () => isSchedule() ? "Timers" : "Processes",
  view() {
    const tab = (parts, text, isCurrent) =>
      html`<li><a href=${at(parts)} aria-current=${isCurrent ? "true" : nothing}>${text}</a></li>`;
    return html`<h1>Processes and timers</h1><ul class="tabs" aria-label="Kind">${
      tab("processes", "Instances", !isSchedule())
    }${tab(["processes", "schedule"], "Timers and scheduled commands", isSchedule())}</ul>${
      isSchedule() ? schedule.view() : resourceView(page, load, contentView)
    }`;
  },
};
