import assert from "node:assert/strict";
import { SqliteEventStore } from "../../../src/store/sqlite/store.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import school, { Course, Enrol, OpenCourse, Seat, Subscribe, Taken } from "../../fixtures/school/domain.ts";
import { command } from "../../support/command.ts";
import { withSchema } from "../../support/postgres.ts";
import { withPrefix } from "../../support/redis.ts";
import { Site, until } from "../../support/server.ts";
import { databaseUrl, redisUrl } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/school/domain.ts", import.meta.url);
const WORKERS = "[server.workers]\nSeats = 3\nOffice = 2\n";

/** Lets many students want few seats, and checks that exactly these are taken. */
async function fill(site: Site, servers: number): Promise<void> {
  const running = Array.from({ length: servers }, () => site.start());
  for (const server of running) await server.running();
  await using client = await site.connect(school);
  const courses = ["a", "b", "c", "d"];
  for (const courseId of courses) await client.process(OpenCourse({ courseId, seats: 5 }), { wait: true });
  const wishes = courses.flatMap((courseId) =>
    Array.from({ length: 15 }, (_, i) => ({ courseId, studentId: String((i * 7 + courseId.charCodeAt(0)) % 12) }))
  );
  const outcomes = await Promise.all(
    wishes.map((wish, i) => client.process((i % 3 === 0 ? Enrol : Subscribe)(wish), { wait: true })),
  );
  const failed = outcomes.filter(({ outcome }) => outcome?.status === "failed");
  assert.deepEqual(failed, []);
  const taken = await client.store.readLog({ type: "Subscribed" });
  const count = (field: string, one: string) => taken.filter(({ data }) => JSON.parse(data)[field] === one).length;
  for (const courseId of courses) assert(count("courseId", courseId) <= 5, courseId);
  for (let i = 0; i < 12; i++) assert(count("studentId", String(i)) <= 3, `student ${i}`);
  assert(taken.length >= 15, String(taken.length));
  assert.equal(outcomes.filter(({ outcome }) => outcome?.status === "accepted").length, taken.length);
  assert.ok(await client.caughtUp());
  const rows = await client.rows(Taken);
  assert.deepEqual(
    rows.map(({ courseId, taken }) => [courseId, taken]),
    courses.map((courseId) => [courseId, count("courseId", courseId)]),
  );
  const { state } = await client.load(Seat, { courseId: "a", studentId: "none" });
  assert.equal(state.free, 5 - count("courseId", "a"));
  assert.deepEqual(await client.store.deadLetters(), []);
  for (const server of running) assert.equal(await server.stop(), 0, server.stderr);
}

Deno.test("seats are taken within a boundary by several workers: embedded", async () => {
  await using site = Site.make("school", MODULE, WORKERS);
  await fill(site, 1);
});

Deno.test("seats are taken within a boundary by several servers: PostgreSQL and Redis", async () => {
  await using schema = await withSchema();
  await using keys = withPrefix();
  const store = `[event_store]\nurl = ${JSON.stringify(databaseUrl())}\nschema = "${schema.name}"\n`;
  const broker = `[brokers.default]\nurl = ${JSON.stringify(redisUrl())}\nprefix = "${keys.prefix}"\n`;
  await using site = Site.make("school", MODULE, store + broker + WORKERS);
  await fill(site, 2);
});

Deno.test("events from before their type had tags are given theirs, before anything is decided on them", async () => {
  await using site = Site.make("school", MODULE, `[event_store]\nurl = "sqlite:school.db"\n`);
  const store = new SqliteEventStore({ path: `${site.folder}/school.db` });
  await store.claim("school");
  const opened = (courseId: string) => ({
    stream: `school::course-${courseId}`,
    category: "school::course",
    expected: "none" as const,
    messages: [sampleMessage({ courseId, seats: 1 }, { type: "CourseOpened" })],
    publish: true,
  });
  for (let i = 0; i < 2_500; i++) void store.commit({ appends: [opened(`c${i}`)] });
  await store.commit({ appends: [opened("last")] });
  await store.close();
  const refused = site.start();
  const { code } = await refused.status;
  assert.equal(code, 1);
  assert.match(refused.stderr, /"CourseOpened" of school::course, like the one at position 1/);
  assert.match(refused.stderr, /annals store tag --domain=school/);
  const annals = (...args: string[]) => command("annals", ["--config", site.file, "store", ...args], site.folder);
  assert.match((await annals("tag", "--again", "CourseOpend")).stderr, /no event with tags; known: CourseOpened, /);
  const tagged = await annals("tag", "--backfill");
  assert.equal(tagged.stdout, "CourseOpened: 2501 events have their tags\n", tagged.stderr);
  assert.equal((await annals("tag")).stdout, "All events have their tags.\n");
  const server = await site.start().running();
  await using client = await site.connect(school);
  const one = await client.process(Subscribe({ courseId: "last", studentId: "ann" }), { wait: true });
  assert.equal(one.outcome?.status, "accepted");
  const two = await client.process(Subscribe({ courseId: "last", studentId: "bob" }), { wait: true });
  assert.equal(two.outcome?.status, "refused");
  assert.equal((await client.load(Course, "last")).state.isOpen, true);
  assert.deepEqual(JSON.parse((await annals("tag", "--again", "CourseOpened", "--json")).stdout), {
    tagged: { CourseOpened: 2_501 },
  });
  await until(() => client.caughtUp(), () => "the groups");
  assert.equal(await server.stop(), 0, server.stderr);
});
