import assert from "node:assert/strict";
import { statfs } from "node:fs/promises";
import { type Config, loadConfig } from "@annals/annals/config";
import type { Domain } from "@annals/annals";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { ownerName } from "../../../src/cluster/process_id.ts";
import { scheduleKey } from "../../../src/domain/scheduling.ts";
import { describe } from "../../../src/isolation/describe.ts";
import { newId } from "../../../src/messages/ids.ts";
import { CHECKS, examine } from "../../../src/operating/doctor/doctor.ts";
import { CLOCK } from "../../../src/operating/doctor/clock.ts";
import { examineDatabase, examineSpace } from "../../../src/operating/doctor/files.ts";
import { check, type Finding, type Patient } from "../../../src/operating/doctor/finding.ts";
import { openQuietly } from "../../../src/operating/doctor/opening.ts";
import { examineDeno, isOlder, TESTED_DENO } from "../../../src/operating/doctor/runtime.ts";
import type { DeferredMessage, EventStore } from "../../../src/store/port.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";
import school from "../../fixtures/school/domain.ts";
import timely from "../../fixtures/timely/domain.ts";

const owner = ownerName();

/** What all checks find in a store that something was done to. */
async function findingsIn(
  prepare: (store: EventStore) => Promise<unknown>,
  { domain = timely, toml = "", served = true }: { domain?: Domain; toml?: string; served?: boolean } = {},
): Promise<Finding[]> {
  const store = new MemoryEventStore();
  if (served) await store.enroll({ owner, types: {} }, 30_000);
  await prepare(store);
  return await findingsOf({
    config: loadConfig({ text: toml }),
    name: domain.name,
    domain: describe(domain),
    store,
    broker: null,
  });
}

async function findingsOf(patient: Patient): Promise<Finding[]> {
  return (await examine(patient)).flatMap(({ findings }) => findings);
}

/** Leases of all groups, as servers have them that are well. */
async function work(store: EventStore): Promise<void> {
  for (const name of ["Ringer", "Echo"]) {
    await store.acquireLease({ name: `${name}#0/1`, group: name, partitions: 1, owner, ttl: 30_000 });
  }
}

function shown(findings: readonly Finding[]): string[] {
  return findings.map(({ severity, what, where }) => `${severity}: ${where}: ${what}`);
}

function found(findings: readonly Finding[], severity: Finding["severity"], what: RegExp, todo: RegExp): void {
  const one = findings.find((finding) => what.test(`${finding.where}: ${finding.what}`));
  assert.ok(one, `${what} in\n${shown(findings).join("\n")}`);
  assert.equal(one.severity, severity, one.what);
  assert.match(one.todo, todo);
}

const EVENTS = { stream: "timely::bell-1", category: "timely::bell" };

function deferred(group: string, given: Partial<DeferredMessage> = {}): DeferredMessage {
  const waiting = { position: 1, attempts: 0, dueAt: 0, failures: [], replayed: false, awaits: null };
  return { group, ...EVENTS, ...waiting, ...given };
}

async function letter(store: EventStore, group: string): Promise<void> {
  const [message] = await store.readLog({ limit: 1 });
  const error = { reason: "handler failed", error: "no", stack: null, attempts: [], deadAt: Date.now() };
  await store.commit({ deadLetters: [{ id: newId(), group, message, ...error }] });
}

Deno.test("nothing is found where nothing is wrong", async () => {
  assert.deepEqual(shown(await findingsIn(work, { toml: '[event_store]\nurl = "sqlite:.annals/{domain}.db"' })), []);
});

Deno.test("the configuration: unknown groups and categories, exposed files, memory, unused variables", async () => {
  const toml = `
[event_store]
url = "sqlite:.annals/bells.db"
synchronous = "normal"
[server.workers]
Ringr = 2
[server.partitions]
"timely::bel" = 2
[server.permissions.Echo]
read = [".annals"]
`;
  const findings = await findingsIn(work, { toml });
  found(findings, "error", /workers\.Ringr: .*no handler "Ringr"; did you mean "Ringer"/, /correct the name/);
  found(findings, "error", /partitions\."timely::bel": .*did you mean "timely::bell"/, /correct the name/);
  found(findings, "error", /permissions\.Echo: .*files of the event store/, /narrower/);
  found(findings, "warning", /synchronous = "normal"/, /"full"/);
  found(await findingsIn(work, { toml: '[event_store]\nurl = "memory:"' }), "warning", /in memory/, /sqlite:/);
  for (const listen of ["127.0.0.1:1", "[::1]:1", "localhost:1"]) {
    const safe = await findingsIn(work, { toml: `[server.http]\nlisten = "${listen}"` });
    assert.ok(!shown(safe).some((text) => text.includes("http.listen")), listen);
  }
});

Deno.test("groups: no server, workers missing, far behind, dead letters, retries, unknown types, rests", async () => {
  const old = Date.now() - 600_000;
  const append = (store: EventStore) =>
    store.commit({
      appends: [{ ...sampleAppend("1", 0, "any", EVENTS), messages: [sampleMessage({}, { time: old })] }],
    });
  const failures = [{ at: old, error: "no" }];
  const findings = await findingsIn(async (store) => {
    await append(store);
    const lease = { name: "Ringer#0/1", group: "Ringer", partitions: 1, owner, ttl: 30_000 };
    const { token } = (await store.acquireLease(lease))!;
    const ends = { at: [Date.now()], rests: 1, restingUntil: Date.now() + 60_000, reason: "out of memory" };
    await store.recordEnds({ lease: lease.name, token }, ends);
    await letter(store, "Echo");
    const positions = [
      deferred("Echo", { attempts: 1, failures }),
      deferred("Echo", { position: 2, awaits: "Rung@2" }),
    ];
    await store.commit({ defer: [...positions, deferred("Echo", { position: 3, awaits: "a replay" })] });
  });
  found(findings, "error", /group Ringer: Its worker ended again and again.*out of memory/, /mend the cause/);
  found(findings, "warning", /group Echo: Only 0 of 1 worker at work/, /server's log/);
  found(findings, "warning", /group Echo: It is 60\d s \(1 message\) behind/, /\[server\.workers\] Echo = 2/);
  found(findings, "warning", /group Echo: 1 dead letter/, /annals dlq list --group Echo/);
  found(findings, "note", /group Echo: 1 failed message/, /annals top/);
  found(findings, "warning", /group Echo: 1 message waiting for code that knows Rung version 2/, /start a server/);
  found(findings, "warning", /group Echo: 1 instance set aside/, /annals processes list/);
  found(await findingsIn(append, { served: false }), "warning", /No server runs/, /server\.ts --domain=timely/);
});

Deno.test("what is left of the past: leases of processes that are gone, groups that no code has", async () => {
  const findings = await findingsIn(async (store) => {
    await work(store);
    await store.commit({ appends: [sampleAppend("1", 1, "any", EVENTS)] });
    const gone = `${owner.split(":")[0]}:999999999.1:${newId()}`;
    await store.acquireLease({ name: "$relay", group: "$relay", partitions: 1, owner: gone, ttl: 30_000 });
    const elsewhere = `other/0/0:7.1:${newId()}`;
    await store.acquireLease({ name: "$tidy", group: "$tidy", partitions: 1, owner: elsewhere, ttl: 30_000 });
    const at = { category: EVENTS.category, partitions: 1, partition: 0, position: 1 };
    await store.commit({
      checkpoints: [{ group: "Quiet", ...at }, { group: "Holding", ...at }, { group: "$relay", ...at }],
      defer: [deferred("Holding")],
    });
    await letter(store, "Holding");
  });
  found(
    findings,
    "note",
    /lease \$relay: .*which has ended without giving it back/,
    /nothing: another server takes it/,
  );
  found(findings, "note", /lease \$tidy: It is held by other:7, which is not among the servers/, /nothing/);
  found(findings, "note", /group Quiet: It has checkpoints/, /formerly: "Quiet"/);
  found(findings, "warning", /group Holding: 1 deferred message, and no code/, /bring the handler back/);
  found(findings, "warning", /group Holding: 1 dead letter, and no code/, /annals dlq purge --group Holding/);
});

Deno.test("the log: half imported, without tags, an outbox and a schedule that nobody empties", async () => {
  const old = Date.now() - 600_000;
  const stuck = async (store: EventStore) => {
    await store.commit({
      appends: [{ ...sampleAppend("1", 0, "any", EVENTS), messages: [sampleMessage({}, { time: old })] }],
      schedule: [{ key: scheduleKey("echo 1"), due: { at: old }, ...EVENTS, message: sampleMessage() }],
      checkpoint: { group: "$imported", category: "begun", partitions: 1, partition: 0, position: 0 },
    });
  };
  const findings = await findingsIn(stuck);
  found(findings, "error", /It has a part of an import/, /annals import FILE/);
  found(findings, "error", /1 message not in the broker yet, the oldest for 600 s/, /no server runs the relay/);
  found(findings, "error", /schedule: echo 1, .*overdue by 600 s/, /relay/);
  const unserved = await findingsIn(stuck, { served: false });
  found(unserved, "warning", /not in the broker yet/, /server\.ts/);
  found(unserved, "warning", /overdue by 600 s/, /server\.ts/);
  let looked: EventStore;
  let before: unknown;
  const untagged = await findingsIn(async (store) => {
    looked = store;
    const messages = [sampleMessage({}, { type: "Subscribed" })];
    const category = "school::$boundary";
    await store.commit({
      appends: [{ ...sampleAppend("1", 0, "any", { category, stream: `${category}-x` }), messages }],
    });
    before = await store.checkpoints();
  }, { domain: school });
  assert.deepEqual(await looked!.checkpoints(), before, "types without events are not noted");
  found(untagged, "error", /"Subscribed" from before it had tags, like the one at position 1/, /annals store tag/);
});

Deno.test("projections: builds that have failed, are half done, dropped, kept or of no code", async () => {
  const at = { state: "fed", isActive: false, isPinned: false, swappedAt: null, error: null } as const;
  const prepare = async (store: EventStore) => {
    const add = (projection: string, generation: string, given: object) =>
      store.addGeneration({ ...at, projection, generation, group: `G@${generation}`, ...given });
    await add("Old", "1", { isActive: true });
    await add("Enrolment", "1", { swappedAt: 1 });
    await add("Enrolment", "2", { isActive: true, swappedAt: 2 });
    await add("Enrolment", "3", { state: "building", error: "a row is no object" });
    await add("Enrolment", "4", { state: "dropped" });
    await add("Enrolment", "5", { state: "building" });
  };
  const [projection] = describe(school).projections;
  const findings = await findingsIn(
    (store) =>
      prepare(
        new Proxy(store, {
          get: (target, name) =>
            name === "addGeneration"
              ? (one: { projection: string }) =>
                target.addGeneration({ ...one as any, projection: one.projection === "Old" ? "Old" : projection.name })
              : Reflect.get(target, name),
        }),
      ),
    { domain: school, served: false },
  );
  found(findings, "note", /projection Old, generation 1: No code keeps this/, /bring the projector back/);
  found(
    findings,
    "note",
    /generation 1: It is kept to go back to, since readers see 2/,
    /annals projections drop \w+ --generation 1/,
  );
  found(findings, "error", /generation 3: It cannot be built: a row is no object/, /correct the projector/);
  found(findings, "note", /generation 4: It is dropped/, /server\.ts/);
  found(findings, "warning", /generation 5: It is half built, and no server runs/, /server\.ts/);
});

Deno.test("clocks: this machine's, the store's and those of senders", async () => {
  const skewed = async (by: number) => {
    const store = new MemoryEventStore({ clock: { now: () => Date.now() + by } });
    return await CLOCK.run({ config: {} as Config, name: "x", domain: null, broker: null, store });
  };
  assert.deepEqual(await skewed(200), []);
  found(await skewed(5_000), "warning", /clock of this machine is 5\.0 s behind the store's/, /set-ntp true/);
  found(await skewed(-90_000), "error", /90\.0 s ahead of/, /set-ntp true/);
  const future = await findingsIn(async (store) => {
    const messages = [sampleMessage({}, { time: Date.now() + 60_000 })];
    await store.commit({ appends: [{ ...sampleAppend("1", 0, "any", EVENTS), messages }] });
  });
  found(future, "warning", /position 1, .*1 message of the last 1 from the future/, /set-ntp/);
});

Deno.test("the version of Deno is held to the one that is tested", async () => {
  assert.deepEqual(examineDeno(TESTED_DENO), []);
  found(examineDeno("2.1.0"), "warning", /Deno 2\.1\.0 is older than/, /deno upgrade/);
  assert.deepEqual(["2.10.0", "3.0.0", "2.9.6+abc"].map((version) => isOlder(version, "2.9.6")), [false, false, false]);
  const dockerfile = await Deno.readTextFile(new URL("../../../Dockerfile", import.meta.url));
  assert.match(dockerfile, new RegExp(`denoland/deno:${TESTED_DENO.replaceAll(".", "\\.")}`));
});

Deno.test({
  name: "files of SQLite: modes, owners, a write-ahead log that a reader keeps long, the space around them",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "annals-" });
    try {
      const path = `${folder}/log.db`;
      const store = new SqliteEventStore({ path });
      assert.deepEqual(examineDatabase(path), []);
      await Deno.chmod(path, 0o644);
      found(examineDatabase(path), "warning", /Other users .*\(mode 644\)/, new RegExp(`chmod 600 ${path}`));
      await Deno.chmod(path, 0o400);
      // Modes are not all: root may write what is read-only.
      if (Deno.uid() === 0) assert.deepEqual(examineDatabase(path), []);
      else found(examineDatabase(path), "error", /may not write the file/, /chown/);
      await Deno.chmod(path, 0o600);
      const { DatabaseSync } = await import("node:sqlite");
      const reader = new DatabaseSync(path);
      reader.exec("begin; select count(*) from messages");
      for (let i = 0; i < 20; i++) await store.commit({ appends: [sampleAppend("a", 50)] });
      found(examineDatabase(path, 100_000), "warning", /write-ahead log has/, /fuser -v/);
      reader.close();
      await store.close();
      const { type, bsize, blocks, files } = await statfs(folder);
      const system = { type, bsize, blocks, files, bavail: blocks, ffree: files };
      assert.deepEqual(examineSpace({ ...system, bavail: Math.ceil(2e9 / bsize) }, folder), []);
      found(
        examineSpace({ ...system, bavail: Math.ceil(5e8 / bsize) }, folder),
        "warning",
        /Only 500 MB are free/,
        /du -xh/,
      );
      found(examineSpace({ ...system, bavail: 0 }, folder), "error", /Only 0 MB are free/, /du -xh/);
      found(examineSpace({ ...system, bavail: 1e9, files: 9, ffree: 0 }, folder), "error", /inodes/, /df -i/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("opening a store for looking at it makes no file, updates no table, and takes no log for a domain", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  try {
    const path = `${folder}/log.db`;
    const config = loadConfig({ text: `[event_store]\nurl = "sqlite:${path}"` });
    const none = await openQuietly(config, "bank");
    assert.equal(none.opened, null);
    found(none.findings, "warning", /There is no data yet/, /start the server/);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
    const store = new SqliteEventStore({ path });
    const fresh = await openQuietly(config, "bank");
    await fresh.opened!.close();
    await store.claim("school");
    // It has not been claimed for "bank" before.
    const checkpoint = { group: "G", category: "c", partitions: 1, partition: 0, position: 1 };
    await store.commit({ checkpoint });
    await store.close();
    const foreign = await openQuietly(config, "bank");
    assert.equal(foreign.opened, null);
    found(foreign.findings, "error", /holds domain "school", not "bank"/, /--domain/);
    const { DatabaseSync } = await import("node:sqlite");
    const db = new DatabaseSync(path);
    db.exec("delete from annals_migrations where version > 1");
    const old = await openQuietly(config, "school");
    assert.equal(old.opened, null);
    found(old.findings, "warning", /tables are of an older version .*\(\d+ migrations/, /start the server/);
    assert.deepEqual({ ...db.prepare("select max(version) as version from annals_migrations").get() }, { version: 1 });
    db.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a check that fails is a finding, and the others are made all the same", async () => {
  const config = loadConfig({ text: "" });
  const patient = { config, name: "bank", domain: null, store: null, broker: null };
  const failing = check("failing", [], () => Promise.reject(new Error("the disk is on fire")));
  const fine = check("fine", [], () => Promise.resolve([]));
  const needy = check("needy", ["store"], () => Promise.resolve([]));
  const report = await examine(patient, [failing, needy, fine]);
  found(report[0].findings, "error", /check of failing: It could not be made: the disk is on fire/, /run this again/);
  assert.deepEqual(report.map(({ check, isMade }) => [check, isMade]), [["failing", true], ["needy", false], [
    "fine",
    true,
  ]]);
  assert.equal(new Set(CHECKS.map(({ name }) => name)).size, CHECKS.length);
});
