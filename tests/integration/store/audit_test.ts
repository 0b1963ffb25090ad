import assert from "node:assert/strict";
import { audited, auditRecords } from "../../../src/operating/audit.ts";
import { STORES } from "../../support/stores.ts";

const domain = { name: "bank" };

for (const [name, make] of Object.entries(STORES)) {
  Deno.test(`${name} store: what an operator does is recorded before it is done, and again if it fails`, async () => {
    await using under = await make();
    const { store } = under;
    const at = { store, domain };
    let recordedBefore = 0;
    const count = async () => (await auditRecords(at)).length;
    const done = await audited(at, "alice", "dlq replay", { ids: ["1"], text: "a\0b\ud800" }, async () => {
      recordedBefore = await count();
      return 7;
    });
    assert.deepEqual([done, recordedBefore], [7, 1]);
    const failing = audited(at, "cli:bob@host", "dlq purge", { group: "A" }, () => {
      throw new Error("no such group");
    });
    await assert.rejects(failing, /no such group/);
    const records = await auditRecords(at);
    assert.deepEqual(
      records.map(({ who, action, error }) => ({ who, action, error })),
      [
        { who: "cli:bob@host", action: "dlq purge", error: "no such group" },
        { who: "alice", action: "dlq replay", error: null },
      ],
    );
    assert.deepEqual(records[0].details, { group: "A" });
    assert.deepEqual(await auditRecords(at, { before: records[0].position }), [records[1]]);
    assert.deepEqual(await auditRecords(at, { limit: 1 }), [records[0]]);
    // Groups and brokers never see it.
    assert.deepEqual((await store.outboxStatus()).waiting, 0);
    assert.deepEqual(await auditRecords({ store, domain: { name: "other" } }), []);
    const ids = Array.from({ length: 10_000 }, (_, i) => `${i}`);
    for (let i = 0; i < 45; i++) await audited(at, "ann", "dlq replay", { ids }, () => Promise.resolve());
    const [short] = await auditRecords(at, { limit: 1, listed: 2 });
    assert.deepEqual(short.details, { ids: ["0", "1", "… and 9998 more"] });
    assert.deepEqual((await auditRecords(at, { limit: 45 })).map(({ details }) => details), Array(45).fill({ ids }));
    assert.equal(await count(), 47);
  });
}
