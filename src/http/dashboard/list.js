import { html, nothing, repeat } from "./libraries.js";
import { afterPaint, repaint } from "./screen.js";

/** How many rows are drawn above and below what can be seen. */
const SPARE = 6;

/** On a narrow screen a row has two lines. */
const narrow = matchMedia("(max-width: 700px)");
narrow.addEventListener("change", repaint);

let made = 0;

/**
 * A list of which only the rows that can be seen are in the page. One row is active: keys move it, open it and select it.
 *
 * - `label`: what it is a list of.
 * - `kind`: the class that says how wide its columns are.
 * - `columns`: `name`, `cell(item)`, and `kind` (a class).
 * - `key(item)`: what an item is known by.
 * - `href(item)`, `open(item)`: where a row leads to.
 * - `keys`: what further keys do with the active item.
 * - `more()`: called when the end comes near.
 */
export class List {
  items = [];
  /** How many there are, if more than are loaded. */
  total = null;
  active = 0;
  selected = new Set();
  #top = 0;
  #height = 0;
  #options;
  #id = `list-${++made}`;

  constructor(options) {
    this.#options = { height: 34, narrowHeight: 58, keys: {}, ...options };
  }

  get #rowHeight() {
    return narrow.matches ? this.#options.narrowHeight : this.#options.height;
  }

  get #element() {
    return document.getElementById(this.#id);
  }

  /** The item that keys are for. */
  get current() {
    return this.items[this.active] ?? null;
  }

  /** Whether nobody has moved in it or chosen something. */
  get isAtRest() {
    return this.#top < this.#rowHeight && this.selected.size === 0;
  }

  /** Shows other items; what was active stays so if it is still there. */
  show(items, total = null) {
    const key = this.current === null ? null : this.#options.key(this.current);
    this.items = items;
    this.total = total;
    const at = key === null ? -1 : items.findIndex((item) => this.#options.key(item) === key);
    this.active = at >= 0 ? at : Math.max(0, Math.min(this.active, items.length - 1));
    repaint();
  }

  /** Goes back to its begin. */
  rewind() {
    this.active = 0;
    this.selected.clear();
    this.#top = 0;
    if (this.#element) this.#element.scrollTop = 0;
  }

  /** Puts the keyboard into it. */
  focus() {
    this.#element?.focus({ preventScroll: true });
  }

  /** Makes a row active, and shows it. */
  move(to) {
    this.active = Math.max(0, Math.min(to, this.items.length - 1));
    const element = this.#element;
    if (element) {
      const [height, top] = [this.#rowHeight, this.active * this.#rowHeight];
      const head = element.querySelector(".head")?.offsetHeight ?? 0;
      if (top < element.scrollTop) element.scrollTop = top;
      else if (top + height > element.scrollTop + element.clientHeight - head) {
        element.scrollTop = top + height - element.clientHeight + head;
      }
    }
    this.#nearEnd();
    repaint();
  }

  #nearEnd() {
    const last = (this.#top + this.#height) / this.#rowHeight;
    if (Math.max(last, this.active) > this.items.length - 40) this.#options.more?.();
  }

  #scrolled({ scrollTop, clientHeight }) {
    [this.#top, this.#height] = [scrollTop, clientHeight];
    this.#nearEnd();
    repaint();
  }

  #select(item) {
    const key = this.#options.key(item);
    if (!this.selected.delete(key)) this.selected.add(key);
    repaint();
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, button, select")) return;
    const page = Math.max(1, Math.floor(event.currentTarget.clientHeight / this.#rowHeight) - 2);
    const steps = {
      j: 1,
      ArrowDown: 1,
      k: -1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    const item = this.current;
    if (event.key in steps) this.move(this.active + steps[event.key]);
    else if (item === null) return;
    else if (event.key === "Enter") this.#options.open?.(item);
    else if ((event.key === " " || event.key === "x") && this.#options.canSelect) this.#select(item);
    else if (event.key in this.#options.keys) this.#options.keys[event.key](item);
    else return;
    event.preventDefault();
  }

  #clicked(event, item, index) {
    this.active = index;
    if (event.target.closest("label, button, [data-own]")) return repaint();
    // A link may be opened elsewhere.
    if (event.target.closest("a") && (event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    this.#options.open?.(item);
    repaint();
  }

  #cell(column, item, isFirst) {
    const { href } = this.#options;
    const content = column.cell(item);
    return html`<span class="cell ${column.kind ?? ""}" role="gridcell">${
      isFirst && href ? html`<a tabindex="-1" href=${href(item)}>${content}</a>` : content
    }</span>`;
  }

  #row(item, index) {
    const { columns, key, canSelect, state, isOpen } = this.#options;
    const [id, height] = [key(item), this.#rowHeight];
    const isSelected = this.selected.has(id);
    const classes = [
      "row",
      index === this.active ? "active" : "",
      isOpen?.(item) ? "open" : "",
      isSelected ? "selected" : "",
      state?.(item) ?? "",
    ].join(" ");
    return html`
      <div class=${classes} role="row" id="${this.#id}-${index}" aria-rowindex=${index + 2}
        aria-selected=${canSelect ? String(isSelected) : nothing} .style=${`top:${index * height}px;height:${height}px`}
        @click=${(event) => this.#clicked(event, item, index)}>
            ${canSelect
              ? html`<span class="cell pick" role="gridcell"><label><input type="checkbox" tabindex="-1" aria-label="Select"
            .checked=${isSelected} @change=${() => this.#select(item)}></label></span>`
              : nothing}${columns.map((column, i) => this.#cell(column, item, i === 0))}</div>
    `;
  }

  /** The list, or `empty` if it has nothing. */
  view(empty) {
    const { label, kind, columns, key, canSelect } = this.#options;
    if (this.items.length === 0) return empty;
    const height = this.#rowHeight;
    const seen = this.#height || innerHeight;
    const from = Math.max(0, Math.min(Math.floor(this.#top / height) - SPARE, this.items.length - 1));
    const to = Math.min(this.items.length, Math.ceil((this.#top + seen) / height) + SPARE);
    const shown = this.items.slice(from, to);
    return html`
      <div class="list ${kind}" id=${this.#id} role="grid" tabindex="0" aria-label=${label}
        aria-rowcount=${(this.total ?? this.items.length) + 1} aria-multiselectable=${canSelect ? "true" : nothing}
        aria-activedescendant="${this.#id}-${this.active}" @scroll=${(event) => this.#scrolled(event.currentTarget)}
        @keydown=${(event) => this.#pressed(event)}>
        <div class="head" role="row" aria-rowindex="1">${canSelect
          ? html`<span class="cell pick" role="columnheader" aria-label="Selected"></span>`
          : nothing}${columns.map(({ name, kind = "" }) =>
            html`<span class="cell ${kind}" role="columnheader">${name}</span>`
          )}</div>
        <div class="rows" role="rowgroup" .style=${`height:${this.items.length * height}px`}>${repeat(
          shown,
          key,
          (item, i) => this.#row(item, from + i),
        )}</div>
      </div>
    `;
  }

  /** Puts the keyboard into it when it is drawn. */
  focusSoon() {
    afterPaint(() => this.focus());
  }
}
