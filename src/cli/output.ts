import Table from "cli-table3";
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
  const none = ["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"];
  const chars = Object.fromEntries(
    [...none, "left", "left-mid", "mid", "mid-mid", "right", "right-mid"].map((name) => [name, ""]),
  );
  const laid = new Table({
    head: head.map((name) => paint(name, "bold", COLORS)),
    colAligns: head.map((_, i) =>
      rows.length > 0 && rows.every((row) => typeof row[i] === "number") ? "right" : "left"
    ),
    chars: { ...chars, middle: "  " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0, compact: true },
  });
  laid.push(...rows.map((row) => [...row]));
  return laid.toString().split("\n").map((line) => line.trimEnd()).join("\n");
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
