import { html, nothing } from "./libraries.js";

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

function coloured(line) {
  const parts = [];
  let end = 0;
  for (const match of line.matchAll(TOKEN)) {
    const [all, text, colon, word] = match;
    if (match.index > end) parts.push(line.slice(end, match.index));
    if (colon !== undefined) parts.push(html`<span class="key">${text}</span>${colon}`);
    else parts.push(html`<span class=${text ? "text" : word ? "word" : "number"}>${all}</span>`);
    end = match.index + all.length;
  }
  parts.push(line.slice(end));
  return parts;
}

/** JSON text in lines, as it is if its numbers would not survive. */
function pretty(raw) {
  try {
    const value = JSON.parse(raw);
    const isKept =
      JSON.stringify(value).length === raw.replace(/\s+(?=(?:[^"\\]|\\.|"(?:\\.|[^"\\])*")*$)/g, "").length;
    return isKept || raw.length > 100_000 ? JSON.stringify(value, null, 2) : raw;
  } catch {
    return raw;
  }
}

/** A payload, in lines; those that `other` has not are marked. */
export function jsonView(value, { label, other } = {}) {
  const text = typeof value === "string" ? pretty(value) : JSON.stringify(value, null, 2) ?? "";
  const strip = (line) => line.trim().replace(/,$/, "");
  const known = other === undefined ? null : new Set(
    (typeof other === "string" ? pretty(other) : JSON.stringify(other, null, 2) ?? "").split("\n").map(strip),
  );
  const lines = text.split("\n");
  return html`<pre class="json" tabindex="0" role="region" aria-label=${label ?? nothing}>${
    lines.map((line, i) =>
      html`<code class=${known && !known.has(strip(line)) ? "differs" : ""}>${coloured(line)}${
        i < lines.length - 1 ? "\n" : ""
      }</code>`
    )
  }</pre>`;
}
