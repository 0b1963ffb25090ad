import { sparkPoints } from "./chart.js";
import { chartsView } from "./charts.js";
import { bytes, count, duration, number, rate, time } from "./format.js";
import { groupPanel } from "./group_panel.js";
import { html, nothing, svg } from "./libraries.js";
import { List } from "./list.js";
import { known, live, look } from "./live.js";
import { badge, emptyView, filterView } from "./parts.js";
import { at, choose, route } from "./router.js";
import { repaint } from "./screen.js";
import { stateOf, warningsOf } from "./warnings.js";

/** How many looks a small line shows: a minute. */
const SPARK = 60;

let filter = "";

function spark({ group }) {
  const values = live.looks.slice(-SPARK).map(({ groups }) =>
    groups?.find((one) => one.group === group)?.lagMessages ?? 0
  );
  return svg`
    <svg class="spark" viewBox="0 0 80 18" preserveAspectRatio="none" aria-hidden="true">
      <polyline points=${sparkPoints(values, 80, 18)}></polyline>
    </svg>
  `;
}

const rateOf = (group, way) => look()?.rates[group]?.[way] ?? 0;
const orNone = (value, kind = "") =>
  value === 0 ? html`<span class="none">0</span>` : html`<span class=${kind}>${number(value)}</span>`;

const groups = new List({
  label: "Groups",
  kind: "groups",
  key: ({ group }) => group,
  href: ({ group }) => at("", { group }),
  open: ({ group }) => choose({ group }, { isStep: true }),
  isOpen: ({ group }) => group === route.params.get("group"),
  columns: [
    { name: "Group", kind: "name", cell: ({ group }) => group },
    { name: "State", kind: "state", cell: (one) => badge(...stateOf(one)) },
    { name: "Last minute", kind: "spark", cell: spark },
    { name: "Lag", kind: "num lag", cell: ({ lagMessages }) => orNone(lagMessages) },
    {
      name: "Behind",
      kind: "num behind",
      cell: ({ lagSeconds, lagMessages }) =>
        lagMessages === 0 ? html`<span class="none">–</span>` : duration(lagSeconds * 1_000),
    },
    { name: "In/s", kind: "num in", cell: ({ group }) => rate(rateOf(group, "in")) },
    { name: "Out/s", kind: "num out", cell: ({ group }) => rate(rateOf(group, "out")) },
    { name: "Retrying", kind: "num retrying", cell: ({ retrying }) => orNone(retrying, "warn") },
    { name: "Waiting", kind: "num waiting", cell: ({ pending }) => orNone(pending) },
    {
      name: "Dead",
      kind: "num dead",
      cell: ({ group, dead }) =>
        dead === 0
          ? orNone(0)
          : html`<a class="bad" data-own href=${
            at("dead-letters", { group })
          } aria-label="${dead} dead letters of ${group}">${number(dead)}</a>`,
    },
    {
      name: "Workers",
      kind: "num workers",
      cell: ({ running, workers }) => html`<span class=${running < workers ? "bad" : ""}>${running}/${workers}</span>`,
    },
  ],
});

function warningsView(current) {
  const derived = warningsOf(current);
  const { warnings } = current;
  return html`
    ${derived.length === 0 ? nothing : html`
      <section aria-labelledby="todo">
        <h2 id="todo">Needs attention</h2>
        <ul class="warnings">${derived.map(({ level, text, todo, href }) =>
          html`
            <li class=${level}>
              <div>
                <p class="text">${href ? html`<a href=${href}>${text}</a>` : text}</p>
                <p class="todo">${todo}</p>
              </div>
            </li>
          `
        )}</ul>
      </section>
    `}
    ${warnings.length === 0 ? nothing : html`
      <details class="said" ?open=${derived.length > 0 && warnings.length < 4}>
        <summary>${count(warnings.length, "warning")} of this server, the last at ${time(warnings[0].at)}</summary>
        <ul>${warnings.map(({ at: when, times, level, group, text }) =>
          html`<li class=${level}><span class="when">${time(when)}</span> ${
            group
              ? html`
                <b>${group}</b>
              `
              : nothing
          }<span
            class="text">${text}</span>${
            times > 1
              ? html`
                <span class="times">× ${number(times)}</span>
              `
              : nothing
          }</li>`
        )}</ul>
      </details>
    `}
  `;
}

function figure(name, value, kind = "", href = null, note = nothing) {
  const content = html`
    <span class="name">${name}</span><span class="value ${kind}">${value}</span><span
      class="note">${note}</span>
  `;
  return href ? html`<a class="figure" href=${href}>${content}</a>` : html`<div class="figure">${content}</div>`;
}

function figuresView(current, last) {
  const all = (name) => last.groups.reduce((sum, one) => sum + one[name], 0);
  const [dead, retrying, waiting, lag] = [all("dead"), all("retrying"), all("pending"), all("lagMessages")];
  const slowest = last.groups.reduce((most, one) => Math.max(most, one.lagSeconds), 0);
  const { outbox } = last;
  return html`<section class="figures" aria-label="Figures">
    ${figure("Written", rate(current.rate), "", at("log"), html`messages/s · ${number(last.last)} in all`)}
    ${
    figure(
      "Lag",
      number(lag),
      "",
      null,
      lag === 0 ? "all groups are up to date" : `up to ${duration(slowest * 1_000)} behind`,
    )
  }
    ${
    figure(
      "Dead letters",
      number(dead),
      dead > 0 ? "bad" : "",
      at("dead-letters"),
      dead === 0 ? "none given up" : count(last.groups.filter((one) => one.dead > 0).length, "group"),
    )
  }
    ${
    figure(
      "Parked",
      number(retrying + waiting),
      retrying > 0 ? "warn" : "",
      at("parked"),
      `${number(retrying)} retrying · ${number(waiting)} waiting`,
    )
  }
    ${
    figure(
      "Outbox",
      number(outbox.waiting),
      outbox.waiting > 0 && outbox.relay === null ? "bad" : "",
      null,
      outbox.waiting === 0
        ? (outbox.relay === null ? "no relay" : "everything is published")
        : `${duration(outbox.oldestSeconds * 1_000)} old`,
    )
  }
    ${
    figure(
      "Servers",
      number(last.members),
      "",
      null,
      count(last.groups.reduce((sum, one) => sum + one.running, 0), "worker"),
    )
  }
  </section>`;
}

function groupsView(last) {
  const wanted = filter.toLowerCase();
  const order = { bad: 0, warn: 1, good: 2 };
  const rows = last.groups.filter(({ group }) => group.toLowerCase().includes(wanted))
    .map((one) => ({ one, rank: order[stateOf(one)[1]] }))
    .sort((a, b) => a.rank - b.rank || (a.one.group < b.one.group ? -1 : 1)).map(({ one }) => one);
  groups.show(rows);
  const none = last.groups.length === 0
    ? emptyView("No groups yet", "Each handler of the domain is a group; it appears here when a server has started it.")
    : emptyView("No such group", `None of ${number(last.groups.length)} has “${filter}” in its name.`);
  return html`<section aria-labelledby="groups"><div class="bar"><h2 id="groups">Groups <small>${
    number(last.groups.length)
  }</small></h2>
    ${
    filterView({
      label: "Filter groups",
      value: filter,
      input: (text) => {
        filter = text;
        repaint();
      },
    })
  }</div>${groups.view(none)}</section>`;
}

function machineryView({ processes, workers, services }) {
  return html`
    <div class="columns">
      <section aria-labelledby="processes"><h2 id="processes">Servers</h2>
          ${processes.length === 0
            ? emptyView("None", "Each server that runs the domain is one; start one with annals.")
            : html`<ul class="cards">${
              processes.map(({ name, holds }) =>
                html`<li><b class="mono">${name}</b><p class="holds">${
                  holds.length === 0
                    ? "holds nothing"
                    : html`<details ?open=${holds.length <= 8}><summary>holds ${
                      count(holds.length, "worker")
                    }</summary>${holds.join(", ")}</details>`
                }</p></li>`
              )
            }</ul>`}</section>
      <section aria-labelledby="workers"><h2 id="workers">Workers of this server <small>${number(
        workers.length,
      )}</small></h2>
          ${workers.length === 0 ? emptyView("None", "This server runs no handlers.") : html`
            <div class="scroll" tabindex="0" role="region"
              aria-label="Workers"><table><thead><tr><th>Groups</th><th class="num">Heap</th><th class="num">Restarts</th></tr></thead><tbody>${workers
                .slice(0, 100).map(({ groups: its, heapBytes, restarts }) =>
                  html`
                    <tr>
                      <td>${its.join(", ")}</td>
                      <td class="num">${heapBytes === null ? html`<span class="none">–</span>` : bytes(heapBytes)}</td>
                      <td class="num">${orNone(restarts, "warn")}</td>
                    </tr>
                  `
                )}</tbody></table>${workers.length > 100
                ? html`<p class="more">and ${number(workers.length - 100)} more</p>`
                : nothing}</div>
          `}</section>
      <section aria-labelledby="services">
        <h2 id="services">Services</h2>
        <ul class="cards">${services.map(({ name, kind, location, away }) =>
          html`<li><b>${name}</b> <span class="muted">${kind}</span> ${
            away === null ? badge("answers", "good") : badge("away", "bad")
          }<p class="mono location">${location}</p></li>`
        )}</ul>
      </section>
    </div>
  `;
}

/** How everything is doing. */
export const overview = {
  title: "Overview",
  enter() {},
  escape() {
    if (!route.params.has("group")) return false;
    choose({ group: null }, { isStep: true });
    groups.focusSoon();
    return true;
  },
  view() {
    const [current, last] = [look(), known()];
    if (current === null) return html`<p class="loading" aria-busy="true">Waiting for the first look…</p>`;
    const open = last?.groups.find(({ group }) => group === route.params.get("group"));
    return html`<h1 class="sr">Overview</h1>${warningsView(current)}
      ${
      last === null
        ? emptyView("Nothing is known yet", "What is shown here comes from the event store.")
        : html`<div class=${current.away === null ? "" : "stale"}>${figuresView(current, last)}${chartsView()}
          <div class="split ${open ? "with-panel" : ""}">${groupsView(last)}${
          open ? groupPanel(open, () => overview.escape()) : nothing
        }</div></div>`
    }
      ${machineryView(current)}`;
  },
};
