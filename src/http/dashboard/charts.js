import { chartView } from "./chart.js";
import { duration, number, rate } from "./format.js";
import { html } from "./libraries.js";
import { live } from "./live.js";

/** How many groups the chart of lags shows: those that are furthest behind. */
const MOST_LINES = 5;

const sum = (values) => values.reduce((all, value) => all + value, 0);

function throughput(looks, times) {
  const of = (name) => looks.map(({ rates }) => sum(Object.values(rates).map((one) => one[name])));
  return chartView({
    title: "Throughput",
    unit: "messages/s",
    times,
    format: rate,
    lines: [
      { name: "coming in", colour: "--chart-1", values: of("in") },
      { name: "handled", colour: "--chart-2", values: of("out"), isFilled: true },
    ],
  });
}

function lags(looks, times) {
  const most = new Map();
  for (const { groups = [] } of looks) {
    for (const { group, lagMessages } of groups) most.set(group, Math.max(most.get(group) ?? 0, lagMessages));
  }
  const current = new Map((looks.at(-1)?.groups ?? []).map(({ group, lagMessages }) => [group, lagMessages]));
  const chosen = [...most].filter(([group]) => current.has(group)).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, MOST_LINES).map(([group]) => group);
  const by = looks.map(({ groups }) => groups && new Map(groups.map(({ group, lagMessages }) => [group, lagMessages])));
  return chartView({
    title: current.size > MOST_LINES ? `Lag of the ${MOST_LINES} furthest behind` : "Lag",
    unit: "messages",
    times,
    format: number,
    isWhole: true,
    lines: chosen.map((group, i) => ({
      name: group,
      colour: `--chart-${i + 1}`,
      values: by.map((lag) => lag?.get(group) ?? null),
    })),
  });
}

function latencies(looks, times) {
  // A look in which nothing was handled says nothing of how long it takes.
  const of = (name) =>
    looks.map(({ timing }) => {
      const all = Object.values(timing);
      return all.length === 0 ? null : sum(all.map((one) => one[name])) / all.length;
    });
  const filled = (values) => {
    let last = null;
    return values.map((value) => last = value ?? last);
  };
  return chartView({
    title: "Time of a batch",
    unit: "average of groups",
    times,
    format: (ms) => ms === 0 ? "0" : ms < 10 ? `${ms.toFixed(1)} ms` : duration(ms),
    lines: [
      { name: "handling", colour: "--chart-1", values: filled(of("handlingMs")) },
      { name: "commit", colour: "--chart-3", values: filled(of("commitMs")) },
    ],
  });
}

/** How it went in the last five minutes. */
export function chartsView() {
  const { looks } = live;
  const times = looks.map(({ at }) => at);
  return html`<section class="charts" aria-label="Last five minutes">
    ${throughput(looks, times)}${lags(looks, times)}${latencies(looks, times)}
  </section>`;
}
