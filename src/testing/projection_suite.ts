import assert from "node:assert/strict";
import fc from "fast-check";
import { newId } from "../messages/ids.ts";
import { FencedError, RowConflictError } from "../store/errors.ts";
import { buildGroup, RENAMED_GROUP, rowsOf } from "../store/generations.ts";
import type {
  Checkpoint,
  EventStore,
  FieldValue,
  Generation,
  RowCondition,
  RowField,
  RowOrder,
  RowQuery,
} from "../store/port.ts";
import { fieldValue, selectRows } from "../store/row_query.ts";

/** Registers one test with a runner, for an empty store. */
export type WithStore = (name: string, run: (store: EventStore) => Promise<void>) => void;

/** Creates a generation of projection `p`. */
function sample(generation: string, over: Partial<Generation> = {}): Generation {
  return {
    projection: "p",
    generation,
    group: `g@${generation}`,
    state: "fed",
    isActive: false,
    isPinned: false,
    swappedAt: null,
    error: null,
    ...over,
  };
}

const checkpoint = (generation: string, position: number, over: Partial<Checkpoint> = {}): Checkpoint => ({
  group: `g@${generation}`,
  category: "test",
  partitions: 1,
  partition: 0,
  position,
  ...over,
});

/** Appends messages of a category. */
async function appendSome(store: EventStore, category: string, count: number): Promise<void> {
  const messages = Array.from({ length: count }, () => {
    const id = newId();
    const base = { type: "T", schemaVersion: 1, time: 1, causationId: null, data: "{}", metadata: null };
    return { id, correlationId: id, ...base };
  });
  await store.commit({ appends: [{ stream: `${category}-1`, category, expected: "any", publish: false, messages }] });
}

const FIELDS: readonly RowField[] = [
  { name: "id", type: "string", isKey: true },
  { name: "text", type: "string", isKey: false },
  { name: "n", type: "number", isKey: false },
  { name: "is it", type: "boolean", isKey: false },
];

const TEXTS = ["", "a", "A", "ab", "b", "é", "\uffff", "\u{10000}", "'", "a'b"];
const NUMBERS = [0, -1, 1, 0.5, 1e300, -1e300, 2 ** 53, 429607645881562900, 429607645881562960, -(2 ** 62), 10];

/** A value of a field; sometimes of another type, which counts as null. */
const anyValue = fc.oneof(
  fc.constantFrom(...TEXTS, ...NUMBERS, true, false, null),
  fc.constantFrom(undefined, [1], { a: 1 }),
);

const ofType: Record<RowField["type"], fc.Arbitrary<FieldValue>> = {
  string: fc.constantFrom(...TEXTS),
  number: fc.constantFrom(...NUMBERS),
  boolean: fc.boolean(),
};

const anyCondition: fc.Arbitrary<RowCondition> = fc.constantFrom(...FIELDS).chain((field) =>
  fc.oneof(
    fc.record({
      field: fc.constant(field),
      is: fc.constantFrom("eq" as const, "ne" as const, "gt" as const, "gte" as const, "lt" as const, "lte" as const),
      value: ofType[field.type],
    }),
    fc.record({
      field: fc.constant(field),
      is: fc.constant("in" as const),
      values: fc.array(ofType[field.type], { maxLength: 3 }),
    }),
    fc.record({ field: fc.constant(field), is: fc.constantFrom("null" as const, "not null" as const) }),
  )
);

const anyOrder: fc.Arbitrary<RowOrder[]> = fc.uniqueArray(
  fc.record({ field: fc.constantFrom(...FIELDS), descending: fc.boolean() }),
  { selector: ({ field }) => field.name, maxLength: 3 },
);

const anyRows = fc.uniqueArray(
  fc.record({ id: fc.constantFrom(...TEXTS.slice(1)), text: anyValue, n: anyValue, "is it": anyValue }),
  { selector: ({ id }) => id, maxLength: 9 },
);

/** JSON spells its number other than it is; an index would find it, a comparison of digits would not. */
const LARGE_AMONG = {
  rows: [{ id: "a", text: "", n: 429607645881562900, "is it": null }],
  where: [{ field: FIELDS[2], is: "in" as const, values: [429607645881562900] }],
  orderBy: [],
  limit: 1,
  isIndexed: false,
};

/** The tests of rows, queries and generations that every store passes. */
export function projectionSuite(test: WithStore): void {
  test("queryRows() and countRows() answer as a filter over all rows would, page by page", async (store) => {
    const everything = fc.record({
      rows: anyRows,
      where: fc.array(anyCondition, { maxLength: 3 }),
      orderBy: anyOrder,
      limit: fc.integer({ min: 1, max: 4 }),
      isIndexed: fc.boolean(),
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(everything, async ({ rows, where, orderBy, limit, isIndexed }) => {
        const projection = `p${run++}`;
        await store.commit({
          rows: rows.map((row) => ({ projection, key: row.id, row: JSON.stringify(row), position: 1 })),
        });
        if (isIndexed && orderBy.length > 0) {
          await store.keepIndexes([rowsOf(projection, 1)], [
            { projection: rowsOf(projection, 1), fields: orderBy.map(({ field }) => field) },
          ]);
        }
        const values = rows.map((row) => ({ key: row.id, value: JSON.parse(JSON.stringify(row)) }));
        const expected = selectRows(values, { where, orderBy, limit: Infinity });
        const found: string[] = [];
        let after: RowQuery["after"];
        for (let page = 0; page < 20; page++) {
          const index = isIndexed && orderBy.length > 0 ? { index: orderBy.map(({ field }) => field) } : {};
          const next = await store.queryRows({ projection, where, orderBy, limit, ...index, ...(after && { after }) });
          if (next.length === 0) break;
          assert.ok(next.length <= limit);
          found.push(...next.map(({ key }) => key));
          const { key, row } = next.at(-1)!;
          const value = JSON.parse(row!);
          after = {
            key,
            values: orderBy.map(({ field }) => fieldValue({ key, value }, field)),
          };
        }
        assert.deepEqual(found, expected);
        assert.equal(await store.countRows({ projection, where }), expected.length);
      }),
      { numRuns: 60, examples: [[LARGE_AMONG]] },
    );
  });

  test("keepIndexes() makes indexes, and drops those that are not declared any more", async (store) => {
    const fields = FIELDS.slice(1, 3);
    const index = { projection: rowsOf("p", 2), fields };
    await store.keepIndexes([rowsOf("p", 2), rowsOf("q", 1)], [index, { projection: rowsOf("q", 1), fields }]);
    await store.keepIndexes([rowsOf("p", 2)], [index]);
    await store.keepIndexes([rowsOf("p", 2)], []);
    await store.commit({ rows: [{ projection: "p@2", key: "k", row: '{"n":"no number"}', position: 1 }] });
    assert.equal((await store.queryRows({ projection: "p@2", where: [], orderBy: [], limit: 5 })).length, 1);
  });

  test("a row that is expected at a position is written only there, and nothing else of its commit", async (store) => {
    const row = (key: string, n: number | null, position: number, expected: number) => ({
      projection: "p@1",
      key,
      row: n === null ? null : JSON.stringify({ n }),
      position,
      expected,
    });
    const refused = (rows: ReturnType<typeof row>[]) =>
      assert.rejects(store.commit({ rows, checkpoint: checkpoint("1", 99) }), RowConflictError);
    await store.commit({ rows: [row("a", 1, 1, 0), row("b", 1, 2, 0)] });
    await refused([row("a", 2, 3, 0)]);
    await refused([row("c", 2, 3, 1)]);
    await refused([row("d", 1, 3, 0), row("a", 2, 3, 2)]);
    await refused([row("a", null, 3, 2)]);
    await refused([row("c", null, 3, 1)]);
    await store.commit({ rows: [row("a", 2, 5, 1), row("b", null, 6, 2), row("c", null, 7, 0)] });
    await refused([row("b", 1, 8, 2)]);
    assert.deepEqual((await store.listRows("p")).map(({ key, row, position }) => [key, row, position]), [
      ["a", '{"n":2}', 5],
    ]);
    assert.deepEqual(await store.checkpoints(), []);
    // Of many at the same time that have seen the same, one is written.
    const fates = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => store.commit({ rows: [row("a", 3, 10 + i, 5), row("z", 1, 10 + i, 0)] })),
    );
    assert.equal(fates.filter(({ status }) => status === "fulfilled").length, 1);
    for (const fate of fates) if (fate.status === "rejected") assert.ok(fate.reason instanceof RowConflictError);
  });

  test("readers see the active generation, and each by its name", async (store) => {
    assert.equal(await store.addGeneration(sample("1", { isActive: true, swappedAt: 0 })), true);
    assert.equal(await store.addGeneration(sample("1", { isActive: true })), false);
    // There is an active one.
    await store.addGeneration(sample("2", { isActive: true }));
    await store.commit({
      rows: [
        { projection: "p@1", key: "k", row: '{"n":1}', position: 1 },
        { projection: "p@2", key: "k", row: '{"n":2}', position: 1 },
        { projection: "p@2", key: "l", row: '{"n":3}', position: 1 },
      ],
    });
    const seen = async (name: string) => ({
      one: (await store.readRow(name, "k"))?.row,
      some: (await store.readRows(name, ["k", "l"])).map(({ row }) => row).sort(),
      all: (await store.listRows(name)).map(({ row }) => row),
      query: (await store.queryRows({ projection: name, where: [], orderBy: [], limit: 9 })).map(({ row }) => row),
      count: await store.countRows({ projection: name, where: [] }),
    });
    const first = { one: '{"n":1}', some: ['{"n":1}'], all: ['{"n":1}'], query: ['{"n":1}'], count: 1 };
    const both = ['{"n":2}', '{"n":3}'];
    const second = { one: '{"n":2}', some: both, all: both, query: both, count: 2 };
    assert.deepEqual(await store.projections(), ["p", "p@2"]);
    assert.deepEqual(await seen("p"), first);
    assert.deepEqual(await seen("p@1"), first);
    assert.deepEqual(await seen("p@2"), second);
    const swap = { projection: "p", from: "1", to: "2", categories: ["test"], pin: false };
    assert.equal(await store.swapGenerations(swap), null);
    assert.deepEqual(await seen("p"), second);
    assert.deepEqual(await seen("p@1"), first);
    const generations = await store.generations();
    assert.deepEqual(generations.map(({ generation, isActive }) => [generation, isActive]), [["1", false], [
      "2",
      true,
    ]]);
    assert.notEqual(generations[1].swappedAt, null);
  });

  test("a generation takes over only when it has passed what the other has, and holds nothing back", async (store) => {
    await store.addGeneration(sample("1", { isActive: true }));
    await store.addGeneration(sample("2", { state: "building" }));
    await store.addGeneration(sample("10", { state: "building" }));
    const swap = { projection: "p", from: "1", to: "2", categories: ["test", "other"], pin: true };
    const refusal = async (over = {}) => {
      const refused = await store.swapGenerations({ ...swap, ...over });
      return refused && `${refused.reason}: ${refused.message}`;
    };
    assert.match(String(await refusal()), /^building: .*being built/);
    assert.match(String(await refusal({ to: "3" })), /^absent: .*no generation 3/);
    assert.equal(await store.markGeneration({ ...sample("2"), state: "fed" }, "building"), true);
    assert.equal(await store.markGeneration({ ...sample("2"), state: "fed" }, "building"), false);
    await appendSome(store, "test", 7);
    await appendSome(store, "other", 2);
    await appendSome(store, "test", 2);
    await store.commit({
      checkpoints: [checkpoint("1", 7), checkpoint("1", 9, { category: "other" }), checkpoint("2", 7)],
    });
    assert.match(String(await refusal()), /^behind: .*has not passed what 1 has passed in other/);
    assert.match(String(await refusal({ from: "2" })), /^other: readers see generation 1, not 2/);
    const deferred = {
      group: "g@2",
      category: "other",
      stream: "other-a",
      position: 8,
      attempts: 1,
      dueAt: 0,
      failures: [],
      replayed: false,
      awaits: null,
    };
    await store.commit({ checkpoint: checkpoint("2", 9, { category: "other" }), defer: [deferred] });
    assert.match(String(await refusal()), /^held: .*holds back 1 message/);
    await store.commit({ resume: [{ group: "g@2", position: 8 }] });
    assert.equal(await refusal(), null);
    assert.deepEqual((await store.generations()).map((one) => [one.generation, one.isActive, one.isPinned]), [
      ["1", false, false],
      ["2", true, true],
      ["10", false, false],
    ]);
    // A position without a message is nothing to lack: groups that hear nothing do not move on.
    await store.commit({ checkpoint: checkpoint("2", 11, { category: "other" }) });
    assert.equal(await refusal({ from: "2", to: "1" }), null);
    assert.equal(await refusal({ from: "1", to: "2" }), null);
    // Back to one that is behind, if that is wanted.
    await store.commit({ checkpoint: checkpoint("2", 11) });
    assert.match(String(await refusal({ from: "2", to: "1" })), /has not passed/);
    assert.equal(await refusal({ from: "2", to: "1", stale: true }), null);
  });

  test("what is dropped is deleted a little at a time, with all that is known of its group", async (store) => {
    await store.addGeneration(sample("1", { isActive: true }));
    await store.addGeneration(sample("2"));
    const rows = Array.from({ length: 5 }, (_, i) => ({
      projection: "p@2",
      key: `k${i}`,
      row: "{}",
      position: 1,
    }));
    await store.commit({ rows: [...rows, { ...rows[0], projection: "p@1" }], checkpoint: checkpoint("2", 7) });
    assert.equal(await store.clearGeneration("p", "2", 10), 0);
    assert.equal((await store.listRows("p@2")).length, 5);
    // Not what readers see.
    assert.equal(await store.markGeneration({ ...sample("1"), state: "dropped" }, "fed"), false);
    assert.equal(await store.markGeneration({ ...sample("2"), state: "dropped" }, "fed"), true);
    assert.equal(await store.clearGeneration("p", "2", 3), 3);
    assert.equal(await store.clearGeneration("p", "2", 3), 2);
    assert.equal(await store.clearGeneration("p", "2", 3), 0);
    assert.deepEqual(await store.listRows("p@2"), []);
    assert.equal((await store.listRows("p")).length, 1);
    assert.deepEqual(await store.checkpoints("g@2"), []);
    assert.deepEqual((await store.generations()).map(({ generation }) => generation), ["1"]);
  });

  test("renameGroup() keeps checkpoints, deferred messages and dead letters, and fences who held it", async (store) => {
    const deferred = {
      group: "old",
      category: "test",
      stream: "test-a",
      position: 1,
      attempts: 1,
      dueAt: 0,
      failures: [],
      replayed: false,
      awaits: null,
    };
    const [message] = [{
      ...{ position: 1, id: newId(), type: "Tested", schemaVersion: 1, category: "test", stream: "test-a", version: 0 },
      ...{ time: 1, correlationId: "c", causationId: null, data: "{}", metadata: null },
    }];
    const dead = { id: newId(), group: "old", message, reason: "handler failed", error: "e", stack: null };
    await store.commit({
      checkpoint: checkpoint("1", 7, { group: "old" }),
      defer: [deferred],
      deadLetters: [{ ...dead, attempts: [], deadAt: 1 }],
    });
    assert.equal(await store.renameGroup("unknown", "new"), "absent");
    const request = { name: "old#0/1", group: "old", partitions: 1, owner: "me", ttl: 1000 };
    const { token } = (await store.acquireLease(request))!;
    assert.equal(await store.renameGroup("old", "new"), "held");
    await store.releaseLease({ lease: "old#0/1", token }, true);
    assert.equal(await store.renameGroup("old", "new"), "renamed");
    assert.deepEqual(await store.checkpoints("new"), [checkpoint("1", 7, { group: "new" })]);
    assert.deepEqual((await store.checkpoints(RENAMED_GROUP)).map(({ category }) => category), ["old"]);
    assert.deepEqual(await store.deferred("new"), [{ ...deferred, group: "new" }]);
    assert.deepEqual(await store.deferred("old"), []);
    assert.deepEqual((await store.deadLetters()).map(({ group }) => group), ["new"]);
    assert.equal(await store.renameGroup("new", "new"), "absent");
    assert.equal(await store.renameGroup("new", "old"), "renamed");
    assert.deepEqual((await store.checkpoints(RENAMED_GROUP)).map(({ category }) => category), ["new"]);
  });

  test("whoever builds a generation is fenced when it is dropped, and keeps its group from being renamed", async (store) => {
    await store.addGeneration(sample("1", { isActive: true }));
    await store.addGeneration(sample("2", { state: "building" }));
    const group = buildGroup("p", "2");
    const request = { name: `${group}#0/1`, group, partitions: 1, owner: "me", ttl: 1000 };
    const { token } = (await store.acquireLease(request))!;
    const rows = [{ projection: "p@2", key: "k", row: "{}", position: 1 }];
    const write = () => store.commit({ fence: { lease: request.name, token }, rows, checkpoint: checkpoint("2", 7) });
    await write();
    assert.equal(await store.renameGroup("g@2", "other@2"), "held");
    await store.markGeneration({ ...sample("2"), state: "dropped" }, "building");
    assert.equal(await store.clearGeneration("p", "2", 10), 1);
    await assert.rejects(write(), FencedError);
    assert.equal(await store.clearGeneration("p", "2", 10), 0);
    assert.deepEqual(await store.checkpoints("g@2"), []);
  });
}
