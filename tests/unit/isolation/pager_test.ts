import type { MessageRecord } from "../../../src/messages/envelope.ts";
import assert from "node:assert/strict";
import fc from "fast-check";
import { Pager } from "../../../src/isolation/pager.ts";

const record = (version: number, characters: number) => ({ version, data: { length: characters } }) as never;

/** Reads a stream page by page; returns the versions, the characters that were read, and the pages. */
function readAll(sizes: readonly number[], pager = new Pager()) {
  const versions: number[] = [];
  let [read, pages] = [0, 0];
  while (true) {
    const limit = pager.limitOf("s");
    const found = sizes.slice(versions.length, versions.length + limit)
      .map((characters, i): MessageRecord => record(versions.length + i, characters));
    read += found.reduce((sum, { data }) => sum + data.length, 0);
    pages++;
    const { records, more } = pager.page("s", limit, found);
    assert.ok(records.length > 0 || found.length === 0);
    versions.push(...records.map(({ version }) => version));
    if (!more) return { versions, read, pages };
  }
}

Deno.test("a stream is read whole, in order, whatever its records are like", () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 2, max: 9_000_000 }), { maxLength: 300 }), (sizes) => {
    assert.deepEqual(readAll(sizes).versions, sizes.map((_, version) => version));
  }));
});

Deno.test("a stream of large events is read about once, one of small events in few pages", () => {
  const large = readAll(Array(600).fill(1_000_000));
  assert.ok(large.read < 3 * 600_000_000, `${large.read}`);
  const small = readAll(Array(10_000).fill(100));
  assert.ok(small.pages <= 15, `${small.pages}`);
  assert.equal(readAll(Array(60).fill(100)).pages, 1);
});

Deno.test("reads of two who read the same stream at once are told apart", () => {
  const pager = new Pager();
  const found = Array.from({ length: 64 }, (_, i) => record(i, 1));
  const limit = pager.limitOf("s");
  assert.equal(pager.page("s", limit, found).more, true);
  assert.ok(pager.limitOf("s") > limit);
  assert.equal(pager.page("s", limit, found).more, true);
});

Deno.test("rows are read whole, whatever they are like, and in pages that fit into a message", () => {
  const sizes = fc.array(fc.option(fc.integer({ min: 2, max: 9_000_000 })), { minLength: 1, maxLength: 300 });
  fc.assert(fc.property(fc.array(sizes, { minLength: 1, maxLength: 3 }), (questions) => {
    const pager = new Pager();
    for (const sizes of questions) {
      const all = sizes.map((_, i) => String(i));
      const rowOf = (key: string) => ({ key, row: { length: sizes[Number(key)] } as never });
      const got: string[] = [];
      for (let left = all; left.length > 0;) {
        const keys = left.slice(0, pager.keysOf("P"));
        const { rows, read } = pager.rows("P", keys, keys.filter((key) => sizes[Number(key)] !== null).map(rowOf));
        assert.ok(read > 0 && read <= keys.length);
        const characters = rows.reduce((sum, { row }) => sum + row!.length, 0);
        assert.ok(rows.length <= 1 || characters <= 4_000_000, `${characters} in a page`);
        got.push(...rows.map(({ key }) => key));
        left = left.slice(read);
      }
      assert.deepEqual(got, all.filter((key) => sizes[Number(key)] !== null));
    }
  }));
});
