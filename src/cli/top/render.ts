import type { GroupStatus } from "../../operating/groups.ts";
import { leaseName } from "../../groups/partition.ts";
import { type ColorSupport, paint } from "../../telemetry/colors.ts";
import { escapeControl } from "../../telemetry/escape.ts";
import { span, stamp, widthOf } from "../output.ts";
import { ratesOf, type Sample } from "./sample.ts";
import { type Inspected, sorted, type Top } from "./state.ts";

/** The size of a terminal, in characters. */
export interface Size {
  /** How wide it is. */
  readonly columns: number;
  /** How high it is; `Infinity`: as high as it needs to be. */
  readonly rows: number;
}

type Color = Parameters<typeof paint>[1];

/** Text of one colour. */
interface Part {
  readonly text: string;
  readonly color?: Color;
}

const ELLIPSIS = "…";

/** Shortens a text to so many columns; what is unsafe on a terminal is escaped. */
export function cut(text: string, columns: number): string {
  const safe = escapeControl(text);
  if (widthOf(safe) <= columns) return safe;
  let [shown, width] = ["", 0];
  for (const { segment } of new Intl.Segmenter().segment(safe)) {
    const next = widthOf(segment);
    if (width + next > columns - 1) break;
    shown += segment;
    width += next;
  }
  return columns <= 0 ? "" : shown + ELLIPSIS;
}

/** Joins parts to a line that is no wider than the terminal. */
function join(parts: readonly Part[], columns: number, colors: ColorSupport): string {
  let left = columns;
  let line = "";
  for (const { text, color = "none" } of parts) {
    const shown = cut(text, left);
    left -= widthOf(shown);
    line += paint(shown, color, colors);
    if (left <= 0) break;
  }
  return line.trimEnd();
}

function pad(text: string, width: number, isNumber: boolean): string {
  const space = " ".repeat(Math.max(0, width - widthOf(text)));
  return isNumber ? space + text : text + space;
}

function rate(value: number | undefined): string {
  if (value === undefined) return "-";
  return value >= 100 || value === 0 ? value.toFixed(0) : value.toFixed(1);
}

/** A column of the groups. */
interface Column {
  readonly head: string;
  /** The first to be left out on a narrow terminal has the highest number; 0 is always shown. */
  readonly rank: number;
  readonly isNumber: boolean;
  readonly of: (group: GroupStatus, top: Top) => Part;
}

function alarm(value: number, color: Color): Part {
  return { text: String(value), color: value > 0 ? color : "none" };
}

const COLUMNS: readonly Column[] = [
  { head: "in/s", rank: 4, isNumber: true, of: ({ group }, top) => ({ text: rate(ratesOf(top.samples, group)?.in) }) },
  {
    head: "out/s",
    rank: 2,
    isNumber: true,
    of: ({ group }, top) => ({ text: rate(ratesOf(top.samples, group)?.out) }),
  },
  { head: "lag", rank: 0, isNumber: true, of: ({ lagMessages }) => ({ text: String(lagMessages) }) },
  {
    head: "behind",
    rank: 3,
    isNumber: true,
    of: ({ lagMessages, lagSeconds }) => ({
      text: lagMessages === 0 ? "-" : span(lagSeconds * 1_000),
      color: lagMessages > 0 && lagSeconds > 60 ? "yellow" : "none",
    }),
  },
  { head: "pending", rank: 5, isNumber: true, of: ({ pending }) => ({ text: String(pending) }) },
  { head: "retrying", rank: 1, isNumber: true, of: ({ retrying }) => alarm(retrying, "yellow") },
  { head: "dead", rank: 0, isNumber: true, of: ({ dead }) => alarm(dead, "red") },
  {
    head: "workers",
    rank: 1,
    isNumber: true,
    of: ({ running, workers }) => ({ text: `${running}/${workers}`, color: running < workers ? "red" : "none" }),
  },
  {
    head: "state",
    rank: 2,
    isNumber: false,
    of: ({ resting, awaiting }) =>
      resting.length > 0
        ? { text: "resting", color: "red" }
        : Object.keys(awaiting).length > 0
        ? { text: "waits", color: "yellow" }
        : { text: "" },
  },
];

/** The least that is left for the names of groups. */
const SHORTEST_NAME = 12;

function table(top: Top, groups: readonly GroupStatus[], columns: number): Part[][] {
  const cells = (chosen: readonly Column[]) => groups.map((group) => chosen.map((column) => column.of(group, top)));
  let chosen = [...COLUMNS];
  const widths = (of: readonly Column[], rows: readonly Part[][]) =>
    of.map(({ head }, i) => Math.max(head.length, ...rows.map((row) => row[i].text.length)));
  const room = () => columns - 2 - widths(chosen, cells(chosen)).reduce((sum, width) => sum + width + 2, 0);
  while (room() < SHORTEST_NAME && chosen.some(({ rank }) => rank > 0)) {
    const worst = Math.max(...chosen.map(({ rank }) => rank));
    chosen = chosen.filter(({ rank }) => rank < worst);
  }
  const rows = cells(chosen);
  const found = widths(chosen, rows);
  const longest = Math.max(5, ...groups.map(({ group }) => widthOf(group)));
  const name = Math.max(1, Math.min(longest, room()));
  const head: Part[] = [
    { text: `  ${pad("group", name, false)}`, color: "bold" },
    ...chosen.map(({ head, isNumber }, i): Part => ({ text: `  ${pad(head, found[i], isNumber)}`, color: "bold" })),
  ];
  return [
    head,
    ...groups.map((group, i): Part[] => [
      group.group === top.selected ? { text: "▸ ", color: "green" } : { text: "  " },
      { text: pad(cut(group.group, name), name, false), color: group.group === top.selected ? "bold" : "none" },
      ...rows[i].map(({ text, color = "none" }, j): Part => ({
        text: `  ${pad(text, found[j], chosen[j].isNumber)}`,
        color,
      })),
    ]),
  ];
}

function processLines({ processes, groups }: Sample): string[] {
  return processes.map((process) => {
    const held = groups.flatMap(({ group, workers, held }) =>
      held.filter((one) => one.process === process).map(({ partition }) => leaseName(group, partition, workers))
    );
    return `${process}: ${held.length === 0 ? "standing by" : held.join(", ")}`;
  });
}

function headOf(top: Top): Part[][] {
  const sample = top.samples.at(-1);
  if (!sample) return [[{ text: top.domain, color: "bold" }, { text: "  looking…" }]];
  const { processes, outbox, position, time } = sample;
  const first = top.samples[0];
  const seconds = (sample.at - first.at) / 1_000;
  const perSecond = seconds > 0 ? `${rate((position - first.position) / seconds)}/s` : "-";
  const servers = processes.length === 1 ? "1 process" : `${processes.length} processes`;
  const relay = outbox.relay === null ? ", no relay" : "";
  const late = outbox.waiting > 0 ? `, the oldest ${span(outbox.oldestSeconds * 1_000)}` : "";
  return [[
    { text: top.domain, color: "bold" },
    { text: `  position ${position} (${perSecond})  ` },
    processes.length === 0 ? { text: "no server runs", color: "red" } : { text: servers },
    { text: "  outbox " },
    {
      text: `${outbox.waiting}${late}${relay}`,
      color: outbox.relay === null || outbox.oldestSeconds > 30 ? "yellow" : "none",
    },
    { text: `  ${stamp(time).slice(11, 19)}  by ${top.sort}`, color: "dim" },
  ]];
}

function footOf(top: Top, keys: string): Part[][] {
  const lines: Part[][] = [];
  if (top.error !== "") lines.push([{ text: top.error, color: "red" }]);
  if (top.asked) lines.push([{ text: top.asked.text, color: "bold" }, { text: " y/n" }]);
  else if (top.note !== "") lines.push([{ text: top.note, color: "yellow" }]);
  if (keys !== "") lines.push([{ text: keys, color: "dim" }]);
  return lines;
}

/** The part of a list that is shown: so that the chosen one is in it. */
function windowOf<T>(all: readonly T[], chosen: number, room: number): T[] {
  const start = Math.max(0, Math.min(chosen - Math.floor(room / 2), all.length - room));
  return all.slice(start, start + Math.max(0, room));
}

function groupsFrame(top: Top, { columns, rows }: Size, keys: string): Part[][] {
  const [head, foot] = [headOf(top), footOf(top, keys)];
  const sample = top.samples.at(-1);
  if (!sample) return [...head, ...foot];
  const groups = sorted(top);
  const rests = groups.flatMap(({ group, resting }) =>
    resting.slice(0, 1).map(({ until, reason }): Part[] => [
      { text: `${group} rests until ${until.slice(11, 19)}: ${reason}`, color: "red" },
    ])
  );
  const processes = processLines(sample).map((line): Part[] => [{ text: line, color: "dim" }]);
  const room = rows - head.length - foot.length - 3;
  // Groups matter most: the rest gets what they leave, and a third at least.
  const below = [...rests, ...processes].slice(0, Math.max(Math.floor(room / 3), room - groups.length));
  const at = groups.findIndex(({ group }) => group === top.selected);
  const shown = windowOf(groups, Math.max(0, at), Math.max(1, room - below.length));
  const more = groups.length > shown.length ? [[{ text: `  ${groups.length} groups`, color: "dim" as const }]] : [[]];
  return [...head, [], ...table(top, shown, columns), ...more, ...below, ...foot];
}

function letterLines({ opened }: Inspected, columns: number): Part[][] {
  const { id, group, message, reason, error, stack, attempts, deadAt } = opened!;
  const facts: readonly (readonly [string, string])[] = [
    ["dead letter", id],
    ["group", group],
    ["message", `${message.type} version ${message.schemaVersion}, ${message.id}`],
    ["stream", `${message.stream}, number ${message.version}, position ${message.position}`],
    ["given up", `${stamp(deadAt)} after ${attempts.length} attempts: ${reason}`],
    ["trace", `annals trace ${message.id}`],
  ];
  const text = [
    error,
    ...stack === null ? [] : ["", ...stack.split("\n")],
    "",
    message.data || "(the payload is large: annals dlq inspect shows it)",
  ];
  return [
    ...facts.map(([name, value]): Part[] => [{ text: name.padEnd(13), color: "dim" }, { text: value }]),
    [],
    ...text.flatMap((line, i): Part[][] =>
      wrap(line, columns).map((part) => [{ text: part, color: i === 0 ? "red" : "none" }])
    ),
  ];
}

/** Breaks a long line. */
function wrap(line: string, columns: number): string[] {
  const safe = escapeControl(line);
  if (safe.length <= columns) return [safe];
  const parts: string[] = [];
  for (let i = 0; i < safe.length; i += columns) parts.push(safe.slice(i, i + columns));
  return parts;
}

function inspectedFrame(top: Top, inspected: Inspected, { columns, rows }: Size, keys: string): Part[][] {
  const { group, letters, waiting, chosen, opened, scroll } = inspected;
  const foot = footOf(top, keys);
  const title: Part[][] = [[{ text: group, color: "bold" }], []];
  if (opened) {
    const lines = letterLines(inspected, columns);
    const room = Math.max(1, rows - title.length - foot.length);
    const start = Math.min(scroll, Math.max(0, lines.length - room));
    return [...title, ...lines.slice(start, start + room), ...foot];
  }
  if (letters === null) return [...title, [{ text: "looking…" }], ...foot];
  const room = rows - title.length - foot.length - 4;
  const most = waiting.length === 0 ? room : Math.max(1, Math.ceil(room * 2 / 3));
  const shown = windowOf(letters, chosen, Math.min(most, letters.length));
  const letterRows = shown.map(({ message, error, deadAt, id }): Part[] => {
    const isChosen = letters[chosen]?.id === id;
    return [
      isChosen ? { text: "▸ ", color: "green" } : { text: "  " },
      { text: `${stamp(deadAt).slice(0, 19)}  ` },
      { text: `${message.type}  `, color: isChosen ? "bold" : "none" },
      { text: `${message.stream} #${message.position}  ` },
      { text: error, color: "red" },
    ];
  });
  const behind = waiting.slice(0, Math.max(0, room - shown.length));
  const waitingRows = behind.map(({ type, stream, position, failures, waitsFor, dueAt, attempts }): Part[] => [
    { text: `  ${type}  ${stream} #${position}  ` },
    {
      text: waitsFor === "a retry"
        ? `attempt ${attempts + 1} at ${stamp(dueAt).slice(11, 19)}  `
        : `waits for ${waitsFor}  `,
      color: "yellow",
    },
    { text: failures.at(-1)?.error ?? "" },
  ]);
  const none: Part[][] = [[{ text: "  none", color: "dim" }]];
  return [
    ...title,
    [{
      text: `dead letters, newest first${letters.length > shown.length ? ` (${letters.length} read)` : ""}`,
      color: "bold",
    }],
    ...letters.length === 0 ? none : letterRows,
    [],
    [{ text: "deferred, in order", color: "bold" }],
    ...waiting.length === 0 ? none : waitingRows,
    ...foot,
  ];
}

/**
 * Draws a frame.
 *
 * @param top The state.
 * @param size The terminal's.
 * @param colors Whether there are colours.
 * @param isLive Whether keys can be pressed.
 * @returns Lines: no more, and none wider, than the terminal has room for.
 */
export function render(top: Top, size: Size, colors: ColorSupport = { enabled: false }, isLive = true): string[] {
  const { inspected } = top;
  const keys = !isLive
    ? ""
    : inspected?.opened
    ? "q quit  Esc back  ↑↓ scroll  r replay"
    : inspected
    ? "q quit  Esc back  ↑↓ choose  Enter show  r replay it  R replay all"
    : "q quit  ↑↓ choose  Enter inspect  r replay  s sort";
  const parts = inspected ? inspectedFrame(top, inspected, size, keys) : groupsFrame(top, size, keys);
  const lines = parts.map((line) => join(line, size.columns, colors));
  // What is at the bottom says what can be done: it stays when there is no room for the rest.
  return lines.length <= size.rows ? lines : [...lines.slice(0, size.rows - 1), lines.at(-1)!].slice(-size.rows);
}
