import { Plot } from "./libraries.js";
import { html } from "./libraries.js";

/** How much a chart shows, in seconds. */
const LEAST = 60;
const MOST = 300;

const dark = matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A chart that moves: lines over the last five minutes. It is drawn anew when the colours, its width or its lines change. */
class Chart extends HTMLElement {
  #plot = null;
  #given = null;
  #shape = "";
  #watch = new ResizeObserver(() => this.#draw());

  connectedCallback() {
    this.#watch.observe(this);
    dark.addEventListener("change", this.#renew);
  }

  disconnectedCallback() {
    this.#watch.disconnect();
    dark.removeEventListener("change", this.#renew);
    this.#plot?.destroy();
    this.#plot = null;
  }

  /** `lines`: `name`, `colour` (a custom property), `values`; `times`: in milliseconds; `format` of a value. */
  set given(given) {
    this.#given = given;
    this.#draw();
  }

  #renew = () => {
    this.#shape = "";
    this.#draw();
  };

  #draw() {
    const [width, height] = [this.clientWidth, this.clientHeight];
    if (this.#given === null || width === 0) return;
    const { times, lines, format, isWhole } = this.#given;
    const data = [times.map((at) => at / 1_000), ...lines.map(({ values }) => values)];
    const shape = JSON.stringify([width, height, lines.map(({ name, colour }) => [name, colour])]);
    if (this.#plot && shape === this.#shape) return this.#plot.setData(data);
    this.#plot?.destroy();
    this.#shape = shape;
    const axis = { stroke: colour("--muted"), font: "11px system-ui", ticks: { show: false } };
    const grid = { stroke: colour("--line"), width: 1 };
    const options = {
      width,
      height,
      legend: { show: false },
      padding: [8, 26, 0, 0],
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: {
        // At first there is little to show.
        x: {
          range: (_plot, min, max) => {
            const to = max ?? Date.now() / 1_000;
            return [Math.min(to - LEAST, Math.max(to - MOST, min ?? to)), to];
          },
        },
        // One is the least that a chart shows: noise of nothing is nothing.
        y: { range: (_plot, _min, max) => [0, Math.max(1, (max ?? 0) * 1.15)] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          size: 22,
          space: 70,
          values: (_plot, splits, _i, _space, step) => splits.map((at) => clockOf(at, step)),
        },
        {
          ...axis,
          grid,
          size: 50,
          space: 28,
          values: (_plot, splits) => splits.map(format),
          // Between two whole numbers there is none.
          ...(isWhole && { incrs: WHOLE }),
        },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          stroke: colour(line.colour),
          width: 1.75,
          points: { show: false },
          spanGaps: false,
          ...(line.isFilled && { fill: `${colour(line.colour)}1c` }),
        })),
      ],
    };
    this.#plot = new Plot(options, data, this);
  }
}

/** How far lines of whole numbers may be apart. */
const WHOLE = Array.from({ length: 12 }, (_, i) => [1, 2, 5].map((one) => one * 10 ** i)).flat();

function clockOf(seconds, step) {
  return new Date(seconds * 1_000).toLocaleTimeString(undefined, {
    hour: "2-digit",
    minute: "2-digit",
    ...(step < 60 && { second: "2-digit" }),
    hourCycle: "h23",
  });
}

customElements.define("annals-chart", Chart);

/** A chart with its name, and what each line is at now. */
export function chartView({ title, times, lines, format, unit, isWhole = false }) {
  const now = lines.map(({ name, values }) => `${name} ${format(values.at(-1) ?? 0)} ${unit}`).join(", ");
  return html`
    <figure class="chart">
      <figcaption>
        <h3>${title} <small>${unit}</small></h3>
        <ul class="legend">${lines.map(({ name, colour, values }) =>
          html`<li><i class="dot ${colour.slice(2)}"></i><span>${name}</span> <b>${format(values.at(-1) ?? 0)}</b></li>`
        )}</ul>
      </figcaption>
      <annals-chart role="img" aria-label="${title}: ${now}" .given=${{ times, lines, format, isWhole }}></annals-chart>
    </figure>
  `;
}

/** A line in a table cell: how something went, without numbers. */
export function sparkPoints(values, width, height) {
  const most = Math.max(...values, 1);
  const step = width / Math.max(1, values.length - 1);
  return values.map((value, i) => `${(i * step).toFixed(1)},${(height - 1 - (value / most) * (height - 2)).toFixed(1)}`)
    .join(" ");
}
