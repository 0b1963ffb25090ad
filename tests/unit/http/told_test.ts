import assert from "node:assert/strict";
import fc from "fast-check";
import { looksOf, withNews } from "../../../src/http/dashboard/looks.js";
import type { Look } from "../../../src/http/operator/live.ts";
import { historyOf, newsOf } from "../../../src/http/operator/told.ts";

const names = fc.uniqueArray(fc.constantFrom("A", "B", "C", "D", "E"));
const small = fc.integer({ min: 0, max: 2 });

/** Looks at few groups with few states, so that many of them do not change. */
const looks = fc.array(
  fc.record({
    groups: fc.option(names, { freq: 5 }),
    lag: small,
    busy: fc.option(fc.constantFrom("A", "B")),
    warned: small,
  }),
  { minLength: 1, maxLength: 12 },
).map((all) =>
  all.map(({ groups, lag, busy, warned }, i) => ({
    at: 1_000 * i,
    away: groups === null ? "gone" : null,
    rate: lag,
    rates: Object.fromEntries(
      (groups ?? []).map((group) => [group, group === busy ? { in: 1.5, out: 2 } : { in: 0, out: 0 }]),
    ),
    timing: busy === null ? {} : { [busy]: { handlingMs: 4, commitMs: 2 } },
    processes: [],
    workers: [],
    services: [],
    warnings: Array.from({ length: warned }, () => ({ at: 1, times: 1, level: "warn", group: "", text: "careful" })),
    ...(groups && { groups: groups.map((group) => ({ group, lagMessages: lag })), last: i, members: 1 }),
  } as unknown as Look))
);

const sorted = (look: Look) => ({
  ...look,
  groups: look.groups && [...look.groups].sort((a, b) => (a.group < b.group ? -1 : 1)),
});

Deno.test("whoever is told what is new in each look knows all of them", () => {
  fc.assert(fc.property(looks, (all) => {
    let [known, before]: [Look | undefined, Look | undefined] = [undefined, undefined];
    for (const look of all) {
      const told = JSON.parse(JSON.stringify(before ? newsOf(before, look) : { ...look, isWhole: true }));
      const { isWhole, ...rest } = told;
      known = isWhole ? rest : withNews(known, rest);
      assert.deepEqual(sorted(known!), sorted(JSON.parse(JSON.stringify(look))));
      before = look;
    }
  }));
});

Deno.test("a group that is as it was is not told of again", () => {
  const group = (name: string, lagMessages: number) => ({ group: name, lagMessages });
  const look = (groups: object[]) =>
    ({ at: 1, away: null, rate: 0, rates: {}, timing: {}, groups, workers: [] }) as unknown as Look;
  const many = Array.from({ length: 200 }, (_, i) => group(`G${i}`, 0));
  const news = newsOf(look(many), look([...many.slice(0, 199), group("G199", 7)]));
  assert.deepEqual(news, { at: 1, rate: 0, rates: {}, timing: {}, groups: [group("G199", 7)], gone: [] });
});

Deno.test("whoever comes later draws the same lines as those who were there", () => {
  fc.assert(fc.property(looks, (all) => {
    const known = all.filter(({ groups }) => groups);
    const later = looksOf(JSON.parse(JSON.stringify(historyOf(all))));
    assert.deepEqual(later.map(({ at }: Look) => at), known.map(({ at }) => at));
    for (const { group } of known.at(-1)?.groups ?? []) {
      const lineOf = (looks: readonly Look[]) =>
        looks.map((
          { groups, rates },
        ) => [groups?.find((one) => one.group === group)?.lagMessages ?? 0, rates[group]?.out ?? 0]);
      assert.deepEqual(lineOf(later), lineOf(known));
    }
  }));
});
