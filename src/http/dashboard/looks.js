/** A group for which nothing comes, and that handles nothing. */
const STILL = { in: 0, out: 0 };

/**
 * What the server told before this page was opened, as looks: of each only what charts draw.
 *
 * @returns Looks, the oldest first.
 */
export function looksOf({ at, handlingMs, commitMs, groups }) {
  const all = Object.entries(groups);
  return at.map((time, i) => ({
    at: time,
    away: null,
    rate: 0,
    rates: Object.fromEntries(all.map(([name, { in: came, out }]) => [name, { in: came[i], out: out[i] }])),
    timing: handlingMs[i] === 0 ? {} : { all: { handlingMs: handlingMs[i], commitMs: commitMs[i] } },
    groups: all.map(([group, { lag }]) => ({ group, lagMessages: lag[i] })),
  }));
}

/**
 * Adds what is new to the look before.
 *
 * @returns The look as a whole; groups that are as they were are the same objects.
 */
export function withNews(before, { gone, ...news }) {
  const left = new Set(gone);
  const changed = new Map(news.groups.map((group) => [group.group, group]));
  const groups = before.groups.filter(({ group }) => !left.has(group)).map((group) =>
    changed.get(group.group) ?? group
  );
  const known = new Set(groups.map(({ group }) => group));
  const all = [...groups, ...news.groups.filter(({ group }) => !known.has(group))];
  return {
    ...before,
    ...news,
    groups: all,
    rates: Object.fromEntries(all.map(({ group }) => [group, news.rates[group] ?? STILL])),
  };
}
