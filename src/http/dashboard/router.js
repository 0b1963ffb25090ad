import { repaint } from "./screen.js";

/** Where the page is: the parts of the path, and what is chosen there. */
export const route = { parts: [""], params: new URLSearchParams() };
const listeners = [];

function parse() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  route.parts = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  route.params = new URLSearchParams(query);
}

/** The address of a place. */
export function at(parts, params = {}) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
  return `#/${[parts].flat().map(encodeURIComponent).join("/")}${query}`;
}

/** Goes somewhere. */
export function go(parts, params) {
  const to = at(parts, params);
  if (to !== location.hash) location.hash = to;
}

/** Changes what is chosen here; the way back leads to the place, not through each letter of a filter. */
export function choose(changes, { isStep = false } = {}) {
  const params = { ...Object.fromEntries(route.params), ...changes };
  const to = at(route.parts, params);
  if (to === location.hash || (to === "#/" && location.hash === "")) return;
  if (isStep) location.hash = to;
  else {
    history.replaceState(null, "", to);
    moved();
  }
}

function moved() {
  parse();
  for (const listener of listeners) listener();
  repaint();
}

/** Calls a listener now, and whenever the place changes. */
export function follow(listener) {
  listeners.push(listener);
  addEventListener("hashchange", moved);
  parse();
  listener();
}
