import { stripVTControlCharacters } from "node:util";
import { escapeControl } from "../telemetry/escape.ts";
import { type ColorSupport, paint } from "../telemetry/colors.ts";

/** Whether stdout shows colours. */
export const COLORS: ColorSupport = { enabled: Deno.stdout.isTerminal() && !Deno.noColor };

/**
 * Formats rows as aligned columns.
 *
 * @param head The column headings.
 * @param rows The cells; numbers are right-aligned.
 * @returns Lines of text.
 */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const isNumber = head.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"));
  // A row is a line, also if an error has several.
  const cells = rows.map((row) => row.map((cell) => String(cell).replaceAll(/\s*\n\s*/g, " ")));
  const widths = head.map((name, i) => cells.reduce((most, row) => Math.max(most, widthOf(row[i])), widthOf(name)));
  const line = (texts: readonly string[]): string =>
    texts.map((text, i) => {
      const space = " ".repeat(widths[i] - widthOf(text));
      return isNumber[i] ? space + text : text + space;
    }).join("  ").trimEnd();
  return [line(head.map((name) => paint(name, "bold", COLORS))), ...cells.map(line)].join("\n");
}

/** What takes two columns of a terminal. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

/** How many columns of a terminal a text takes. */
export function widthOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of new Intl.Segmenter().segment(stripVTControlCharacters(text))) {
    width += WIDE.test(segment) ? 2 : 1;
  }
  return width;
}

/** Formats a duration for people. */
export function span(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3_600) return `${(seconds / 60).toFixed(1)} min`;
  return seconds < 86_400 ? `${(seconds / 3_600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} d`;
}

/** Formats a time to the millisecond. */
export function stamp(time: number): string {
  return new Date(time).toISOString();
}

/** Prints a JSON document or human-readable text. */
export function print(json: boolean | undefined, value: unknown, text: () => string): void {
  console.log(json ? JSON.stringify(value) : escapeControl(text(), { lines: true, colors: COLORS.enabled }));
}
