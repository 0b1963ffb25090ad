import { html, nothing } from "./libraries.js";
import { at } from "./router.js";

/** What is shown where there is nothing. */
export function emptyView(title, text = nothing, more = nothing) {
  return html`<div class="empty"><p class="title">${title}</p><p>${text}</p>${more}</div>`;
}

/** What is shown of a resource that is not there: it is being read, or could not be. */
export function resourceView({ value, error, isLoading }, again, view) {
  if (error) {
    return html`<div class="empty bad" role="alert"><p class="title">${error.message}</p>
      <button @click=${again}>Try again</button></div>`;
  }
  if (value !== null) return view(value);
  return isLoading ? html`<p class="loading" aria-busy="true">Reading…</p>` : nothing;
}

/** Facts with their names. */
export function factsView(facts) {
  return html`<dl class="facts">${
    facts.filter((fact) => fact !== null).map(([name, value]) =>
      html`
        <div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>
      `
    )
  }</dl>`;
}

/** A word for a state, which is not told by its colour alone. */
export const badge = (text, kind = "") => html`<span class="badge ${kind}">${text}</span>`;

/** A link to what a message led to. */
export const traceLink = (id, text = "Trace") => html`<a href=${at(["log", "trace", id])}>${text}</a>`;

/** A link to a stream's history. */
export const streamLink = (stream) => html`<a class="mono" href=${at(["log", "stream", stream])}>${stream}</a>`;

/** What lies beside a list: details of one of its items. `id` says whose; it takes the keyboard when that changes. */
export function panelView({ title, label, content, buttons = nothing, close, keys }) {
  return html`<aside class="panel" id="panel" tabindex="-1" aria-label=${label} @keydown=${keys ?? nothing}>
    <header><h2>${title}</h2><button class="plain" aria-label="Close" title="Close (Esc)" @click=${close}>✕</button></header>
    ${buttons === nothing ? nothing : html`<div class="buttons">${buttons}</div>`}
    <div class="body">${content}</div>
  </aside>`;
}

/** A field that filters; `/` goes to it. */
export function filterView({ label, value, input, placeholder = label }) {
  return html`
    <input type="search" data-filter aria-label=${label} placeholder=${placeholder} .value=${value}
      spellcheck="false" autocomplete="off" @input=${(event) => input(event.currentTarget.value)}>
  `;
}

/** Waits until nobody has typed for a moment. */
export function debounced(work, wait = 200) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
}
