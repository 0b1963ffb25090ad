import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { cut, render } from "../../../src/cli/top/render.ts";
import { ratesOf, type Sample } from "../../../src/cli/top/sample.ts";
import { begin, type Effect, type Happening, type Key, SORTS, type Top, update } from "../../../src/cli/top/state.ts";
import { widthOf } from "../../../src/cli/output.ts";
import type { GroupStatus } from "../../../src/operating/groups.ts";
import type { WaitingMessage } from "../../../src/operating/deferred.ts";
import type { DeadLetter } from "../../../src/store/port.ts";

function group(name: string, given: Partial<GroupStatus> = {}): GroupStatus {
  const counts = {
    checkpoint: 0,
    lagMessages: 0,
    lagSeconds: 0,
    pending: 0,
    retrying: 0,
    dead: 0,
    running: 1,
    workers: 1,
  };
  return { group: name, kind: "stream", ...counts, held: [], awaiting: {}, resting: [], ...given };
}

function sample(groups: readonly GroupStatus[], given: Partial<Sample> = {}): Sample {
  const outbox = { waiting: 0, oldestSeconds: 0, published: 0, relay: "m:1" };
  const arrived = Object.fromEntries(groups.map(({ group }) => [group, 0]));
  return { at: 0, time: 1_700_000_000_000, position: 9, groups, arrived, processes: ["vm:1"], outbox, ...given };
}

function letter(id: string, given: Partial<DeadLetter> = {}): DeadLetter {
  const message = {
    position: Number(id.replaceAll(/\D/g, "")),
    id: `m-${id}`,
    type: "Asked",
    schemaVersion: 1,
    category: "bank::account",
    stream: "bank::account-1",
    version: 0,
    time: 0,
    correlationId: "c",
    causationId: null,
    data: '{"kind":"x"}',
    metadata: null,
  };
  const error = { reason: "handler failed", error: "no money", stack: "Error: no money\n    at pay", attempts: [] };
  return { id, group: "B", message, deadAt: 1_700_000_000_000, ...error, ...given };
}

/** Lets things happen one after the other. */
function after(top: Top, ...happenings: readonly Happening[]): { readonly top: Top; readonly effects: Effect[] } {
  const effects: Effect[] = [];
  for (const happening of happenings) {
    const step = update(top, happening);
    top = step.top;
    if (step.effect) effects.push(step.effect);
  }
  return { top, effects };
}

function keys(...names: readonly string[]): Happening[] {
  return names.map((name) => ({
    key: name === name.toLowerCase() ? { name } : { name: name.toLowerCase(), shift: true },
  }));
}

const SIZE = { columns: 120, rows: 30 };
const three = [group("A", { lagMessages: 5 }), group("B", { dead: 2 }), group("C", { retrying: 1 })];
const started = after(begin("bank"), { sample: sample(three) }).top;

function lines(top: Top, size = SIZE): string {
  return render(top, size).join("\n");
}

Deno.test("top: what needs somebody stands first, and s sorts otherwise", () => {
  const rest = { partition: 0, until: "2026-01-01T00:00:00Z", reason: "out of memory" };
  const groups = [...three, group("D", { running: 0 }), group("E", { resting: [rest] }), group("F", { lagSeconds: 9 })];
  let { top } = after(begin("bank"), { sample: sample(groups) });
  const order = () => lines(top).split("\n").flatMap((line) => /^[▸ ] ([A-F]) /.exec(line)?.slice(1) ?? []).join("");
  assert.equal(order(), "EBDCFA");
  assert.match(lines(top), /E rests until 00:00:00: out of memory|E rests until/);
  const orders = SORTS.map((sort) => {
    const shown = [top.sort, order()];
    top = after(top, ...keys("s")).top;
    return [sort, ...shown];
  });
  assert.deepEqual(orders.map(([sort, shown]) => [sort, shown]), SORTS.map((sort) => [sort, sort]));
  assert.equal(orders.find(([sort]) => sort === "lag")![2], "ABCDEF");
  assert.equal(top.sort, "trouble");
  assert.equal(after(top, ...keys("S")).top.sort, "name");
});

Deno.test("top: rates are over the last samples", () => {
  const samples = [
    sample([group("A", { lagMessages: 10 })], { at: 1_000 }),
    sample([group("A", { lagMessages: 30 })], { at: 2_000, arrived: { A: 40 } }),
    sample([group("A", { lagMessages: 0 })], { at: 3_000, arrived: { A: 0 } }),
  ];
  assert.equal(ratesOf(samples.slice(0, 1), "A"), null);
  assert.deepEqual(ratesOf(samples.slice(0, 2), "A"), { in: 40, out: 20 });
  assert.deepEqual(ratesOf(samples, "A"), { in: 20, out: 25 });
  const { top } = after(begin("bank"), ...samples.map((sample) => ({ sample })));
  assert.match(lines(top), /A +20\.0 +25\.0 +0/);
});

Deno.test("top: keys choose a group, look into it, and come back; q and Ctrl+C end it", () => {
  assert.equal(started.selected, "B");
  assert.deepEqual(
    ["down", "j", "j", "up", "k", "k", "end", "home"].reduce((seen, name) => {
      seen.top = after(seen.top, ...keys(name)).top;
      return { top: seen.top, chosen: [...seen.chosen, seen.top.selected!] };
    }, { top: started, chosen: [] as string[] }).chosen,
    ["C", "A", "A", "C", "B", "B", "A", "B"],
  );
  const entered = after(started, ...keys("return"));
  assert.deepEqual(entered.effects, [{ load: "B" }]);
  assert.match(lines(entered.top), /looking…/);
  const failures = [{ at: 0, error: "no answer" }];
  const waiting: WaitingMessage = {
    group: "B",
    category: "bank::account",
    stream: "bank::account-7",
    position: 7,
    attempts: 2,
    dueAt: 0,
    failures,
    replayed: false,
    awaits: null,
    type: "Paid",
    schemaVersion: 1,
    time: 0,
    waitsFor: "a retry",
    behind: null,
  };
  const loaded = { group: "B", letters: [letter("d2"), letter("d1")], waiting: [waiting] };
  const list = after(entered.top, { loaded }).top;
  assert.match(lines(list), /▸ 2023-11-14T22:13:20 +Asked +bank::account-1 #2 +no money/);
  assert.match(lines(list), /Paid +bank::account-7 #7 +attempt 3 at 00:00:00 +no answer/);
  const opened = after(list, ...keys("down", "return")).top;
  assert.match(lines(opened), /dead letter +d1\n[^]*no money[^]*at pay[^]*\{"kind":"x"\}/);
  assert.equal(after(opened, ...keys("escape")).top.inspected?.opened, null);
  assert.equal(after(opened, ...keys("escape", "escape")).top.inspected, null);
  // What was loaded for a group that is not looked at any more changes nothing.
  assert.equal(after(started, { loaded }).top.inspected, null);
  for (const top of [started, list, opened]) {
    assert.deepEqual(after(top, ...keys("q")).effects, [{ quit: true }]);
    assert.deepEqual(after(top, { key: { name: "c", ctrl: true } }).effects, [{ quit: true }]);
  }
});

Deno.test("top: the chosen dead letter stays chosen while others come and go", () => {
  const at = after(started, ...keys("return"), {
    loaded: { group: "B", letters: ["d3", "d2", "d1"].map((id) => letter(id)), waiting: [] },
  }, ...keys("down")).top;
  const chosen = (top: Top) => top.inspected!.letters![top.inspected!.chosen]?.id;
  assert.equal(chosen(at), "d2");
  const more = { group: "B", letters: ["d5", "d4", "d3", "d2"].map((id) => letter(id)), waiting: [] };
  assert.equal(chosen(after(at, { loaded: more }).top), "d2");
  assert.equal(chosen(after(at, { loaded: { ...more, letters: [letter("d3")] } }).top), "d3");
  assert.equal(chosen(after(at, { loaded: { ...more, letters: [] } }).top), undefined);
});

Deno.test("top: a replay asks first, and only y is consent", () => {
  const loaded = { group: "B", letters: [letter("d2"), letter("d1")], waiting: [] };
  const list = after(started, ...keys("return"), { loaded }).top;
  const cases: [top: Top, key: string, text: RegExp, effect: Effect][] = [
    [started, "r", /Hand all 2 dead letters of B back to it\? y\/n/, { replay: { group: "B" } }],
    [list, "r", /Hand "Asked" at 2 back to B\? y\/n/, { replay: { group: "B", ids: ["d2"] } }],
    [list, "R", /Hand all 2 dead letters of B/, { replay: { group: "B" } }],
    [after(list, ...keys("down", "return")).top, "r", /Hand "Asked" at 1/, { replay: { group: "B", ids: ["d1"] } }],
  ];
  for (const [top, key, text, effect] of cases) {
    const asked = after(top, ...keys(key));
    assert.match(lines(asked.top), text);
    assert.deepEqual(asked.effects, []);
    assert.deepEqual(after(asked.top, ...keys("y")).effects, [effect]);
    for (const other of ["n", "return", "escape", "r", "q", "down", "x"]) {
      const refused = after(asked.top, ...keys(other));
      assert.deepEqual([refused.effects, refused.top.asked, refused.top.note], [[], null, "Nothing was replayed."]);
    }
    // The terminal can always be left.
    assert.deepEqual(after(asked.top, { key: { name: "c", ctrl: true } }).effects, [{ quit: true }]);
  }
  const none = after(started, ...keys("down", "r"));
  assert.deepEqual([none.top.asked, none.top.note], [null, "C has no dead letters"]);
  assert.match(lines(after(list, { done: "Replayed 1." }).top), /Replayed 1\./);
});

Deno.test("top: when the store is away, what was seen last stays, and why is said until it is back", () => {
  const away = after(started, { failed: "Cannot reach PostgreSQL" }).top;
  assert.match(lines(away), /▸ B[^]*Cannot reach PostgreSQL/);
  assert.doesNotMatch(lines(after(away, { sample: sample(three) }).top), /Cannot reach/);
  assert.match(lines(after(begin("bank"), { sample: sample(three, { processes: [] }) }).top), /no server runs/);
});

const names = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });
const groups = fc.uniqueArray(
  fc.record({
    name: names,
    dead: fc.nat(),
    lag: fc.nat(),
    running: fc.nat(3),
    rests: fc.boolean(),
    reason: fc.string(),
  }),
  { maxLength: 80, selector: ({ name }) => name },
).map((all) =>
  all.map(({ name, dead, lag, running, rests, reason }) =>
    group(name, {
      dead,
      lagMessages: lag,
      lagSeconds: lag,
      running,
      workers: 2,
      held: [{ partition: 0, process: "vm:1" }],
      resting: rests ? [{ partition: 0, until: "2026-01-01T00:00:00.000Z", reason }] : [],
    })
  )
);
const pressed: fc.Arbitrary<Key> = fc.record({
  name: fc.constantFrom("up", "down", "pageup", "end", "return", "escape", "r", "y", "s", "left", "x"),
  shift: fc.boolean(),
});

Deno.test("top: a frame fits the terminal, whatever is shown and pressed, and has no control characters but colours", () => {
  const sizes = fc.record({ columns: fc.integer({ min: 1, max: 200 }), rows: fc.integer({ min: 1, max: 60 }) });
  fc.assert(fc.property(groups, sizes, fc.array(pressed, { maxLength: 12 }), names, (all, size, presses, error) => {
    let top = after(begin("bank"), { sample: sample(all) }).top;
    for (const key of presses) {
      const { top: next, effects } = after(top, { key });
      top = next;
      const load = effects.find((effect) => "load" in effect);
      const letters = [letter("d2", { error, stack: error }), letter("d1")];
      if (load && "load" in load) top = after(top, { loaded: { group: load.load, letters, waiting: [] } }).top;
    }
    const frame = render(top, size, { enabled: true });
    assert.ok(frame.length <= size.rows, `${frame.length} lines`);
    for (const line of frame) {
      const plain = stripVTControlCharacters(line);
      assert.ok(widthOf(plain) <= size.columns, `${JSON.stringify(plain)} is wider than ${size.columns}`);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(plain, /[\x00-\x1f\x7f-\x9f]/);
    }
  }));
});

Deno.test("top: the chosen group is on the screen, also among 200 and on a narrow one", () => {
  const many = Array.from({ length: 200 }, (_, i) => group(`Group${String(i).padStart(3, "0")}`, { dead: 200 - i }));
  let { top } = after(begin("bank"), { sample: sample(many) });
  for (let i = 0; i < 200; i += 10) {
    for (const size of [SIZE, { columns: 40, rows: 12 }]) {
      assert.ok(lines(top, size).includes(`▸ ${top.selected}`), top.selected!);
    }
    top = after(top, ...keys("pagedown")).top;
  }
  assert.match(lines(top, { columns: 34, rows: 12 }), /group +lag +dead\n/);
  assert.equal(render(top, { columns: 100, rows: Infinity }, { enabled: false }, false).length, 205);
});

Deno.test("cut() shortens by what the terminal shows, and escapes what would steer it", () => {
  assert.equal(cut("abcdef", 4), "abc…");
  assert.equal(cut("日本語", 5), "日本…");
  assert.equal(cut("a\x1b[2Jb", 20), "a\\e[2Jb");
  assert.equal(cut("abc", 0), "");
});
