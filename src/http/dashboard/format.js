import { html } from "./libraries.js";

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** A whole number, with separators. */
export const number = (value) => whole.format(value);

/** A number of things, with their name. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** How many a second. */
export function rate(value) {
  if (value === 0) return "0";
  return value < 10 ? tenths.format(value) : number(value);
}

/** A duration in milliseconds, as people say it. */
export function duration(ms) {
  if (ms < 1) return ms === 0 ? "0 ms" : "< 1 ms";
  if (ms < 1_000) return `${number(ms)} ms`;
  const s = ms / 1_000;
  if (s < 60) return `${s < 10 ? tenths.format(s) : number(s)} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
  return `${number(Math.floor(s / 86_400))} d ${Math.floor((s % 86_400) / 3_600)} h`;
}

/** A size in bytes. */
export function bytes(value) {
  if (value < 1_024) return `${number(value)} B`;
  const units = ["KiB", "MiB", "GiB"];
  let [size, unit] = [value / 1_024, 0];
  while (size >= 1_024 && unit < units.length - 1) [size, unit] = [size / 1_024, unit + 1];
  return `${size < 10 ? tenths.format(size) : number(size)} ${units[unit]}`;
}

/** A time in words: without its day if that is today. */
export function timeText(ms, now = Date.now()) {
  const [at, today] = [new Date(ms), new Date(now)];
  if (at.toDateString() === today.toDateString()) return clock.format(at);
  return `${(at.getFullYear() === today.getFullYear() ? day : dayOfYear).format(at)} ${clock.format(at)}`;
}

/** A time: local, in UTC when pointed at. */
export function time(ms) {
  const utc = new Date(ms).toISOString();
  return html`<time datetime=${utc} title=${utc.replace("T", " ").replace("Z", " UTC")}>${timeText(ms)}</time>`;
}

/** How long ago, or in how long. */
export function fromNow(ms, now = Date.now()) {
  const apart = ms - now;
  if (Math.abs(apart) < 1_000) return "now";
  return apart < 0 ? `${duration(-apart)} ago` : `in ${duration(apart)}`;
}

/** A list of names, not all of them when they are many. */
export function names(list, most = 3) {
  if (list.length <= most + 1) {
    return list.length < 2 ? list.join("") : `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
  }
  return `${list.slice(0, most).join(", ")} and ${number(list.length - most)} more`;
}

const BRIEF = new Intl.NumberFormat(undefined, { notation: "compact" });

/** A number where there is little room, like 100K. */
export function brief(n) {
  return BRIEF.format(n);
}
