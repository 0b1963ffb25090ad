import { count, number } from "./format.js";
import { html, nothing } from "./libraries.js";
import { resourceView } from "./parts.js";
import { Resource } from "./resource.js";

/** How many rows make a screen: a filter may have found fewer in what it has looked through so far. */
const SCREEN = 20;

/**
 * Fills a list a page at a time.
 *
 * - `read(cursor, signal)`: a page: `items`, and from where it goes on (`next`), or `null`.
 * - `one`, `many`: what the items are called.
 */
export class Pager {
  next = null;
  #first = new Resource();
  #more = new Resource();
  #list;
  #options;

  constructor(list, options) {
    this.#list = list;
    this.#options = options;
  }

  /** Whether nothing is being read, and the last time it could be. */
  get isAtRest() {
    return !this.#first.isLoading && !this.#first.error;
  }

  /** Reads the first page again; what is shown stays until it is there. */
  load = async () => {
    this.#more.clear();
    const found = await this.#first.load((signal) => this.#options.read(null, signal));
    if (!found) return;
    this.next = found.next;
    this.#list.show(found.items, found.total ?? null);
    if (found.items.length < SCREEN) await this.more();
  };

  /** Reads the next page. */
  more = async () => {
    while (this.next !== null && !this.#more.isLoading && !this.#first.isLoading) {
      const found = await this.#more.load((signal) => this.#options.read(this.next, signal));
      if (!found) return;
      this.next = found.next;
      this.#list.show([...this.#list.items, ...found.items], found.total ?? null);
      if (found.items.length > 0) return;
    }
  };

  /** Forgets everything. */
  clear() {
    for (const resource of [this.#first, this.#more]) resource.clear();
    this.next = null;
    this.#list.show([]);
  }

  /** The list; `none()` if it has nothing. */
  view(none) {
    const { items, total } = this.#list;
    const { one, many = `${one}s` } = this.#options;
    const isOpen = this.next !== null;
    const end = isOpen
      ? `${number(items.length)}${total === null ? "" : ` of ${number(total)}`} shown; scroll for more`
      : count(items.length, one, many);
    return resourceView(
      this.#first,
      this.load,
      () =>
        html`${this.#list.view(isOpen ? html`<p class="loading">Looking further…</p>` : none())}<p class="more">${
          this.#more.error
            ? html`<span class="bad">${this.#more.error.message}</span> <button @click=${this.more}>Try again</button>`
            : items.length === 0
            ? nothing
            : end
        }</p>`,
    );
  }
}
