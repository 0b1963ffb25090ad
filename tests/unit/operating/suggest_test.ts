import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { describe } from "../../../src/isolation/describe.ts";
import { nearest, nearestCorrelation, nearestStream } from "../../../src/operating/suggest.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";
import timely from "../../fixtures/timely/domain.ts";

const domain = describe(timely);

Deno.test("nearest() finds a name with a slip, or cut off, and nothing that only looks alike", () => {
  assert.equal(nearest("Asekd", ["Asked", "Answered"]), "Asked");
  assert.equal(nearest("Withdrawl", ["Withdrawal", "Deposited"]), "Withdrawal");
  assert.equal(
    nearest("01a21d01-1bab", ["01a21d01-1bab-7337-91ac-9dd941c78c1b", "01a21d01-004d-70db-b766-23a1ee61e963"])!.length,
    36,
  );
  assert.equal(nearest("x", ["y", "xyz"]), "y");
  assert.equal(nearest("Deposited", ["Withdrawn"]), null);
  assert.equal(nearest("", ["a"]), null);
  assert.equal(nearest("a", []), null);
  fc.assert(fc.property(fc.uuid(), fc.array(fc.uuid()), (id, ids) => {
    // Of ids, hardly any is near another by chance.
    const found = nearest(id, ids);
    assert.ok(found === null || ids.includes(found));
  }));
});

Deno.test("streams and correlations that do not exist are held to those that were used last", async () => {
  const store = new MemoryEventStore();
  const at = { store, domain };
  const message = sampleMessage({}, { correlationId: "01a21d01-1bab-7337-91ac-9dd941c78c1b" });
  for (const id of ["tower-1", "tower-2", "gate"]) {
    const stream = { stream: `timely::bell-${id}`, category: "timely::bell" };
    await store.commit({
      appends: [{ ...sampleAppend(id, 0, "any", stream), messages: id === "gate" ? [message] : [sampleMessage()] }],
    });
  }
  assert.equal(await nearestStream(at, "timely::bell-gat"), "timely::bell-gate");
  assert.equal(await nearestStream(at, "timely::bell-towr-1"), "timely::bell-tower-1");
  assert.equal(await nearestStream(at, "timely::bel-gate"), "timely::bell-gate");
  assert.equal(await nearestStream(at, "timely::bel-nothing"), "timely::bell-");
  assert.equal(await nearestStream(at, "timely::bell-something else"), null);
  assert.equal(await nearestStream(at, "gate"), null);
  assert.equal(await nearestCorrelation(at, message.correlationId.replace("9dd9", "9d9")), message.correlationId);
  assert.equal(await nearestCorrelation(at, message.id), message.correlationId);
  assert.equal(await nearestCorrelation(at, "01a21d01-1f5e-7480-b2f7-d22c64880b3b"), null);
});
