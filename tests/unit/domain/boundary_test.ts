import { aggregate, boundary, command, commandHandler, domain, DomainRuleError, event, type } from "@annals/annals";
import { explore, given, inMemory } from "@annals/annals/testing";
import assert from "node:assert/strict";
import { Client } from "../../../src/client/client.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { allTagged, noteUntagged, untaggedTypes } from "../../../src/groups/tagged.ts";
import { LocalRunner } from "../../../src/handling/runner.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import school, {
  Course,
  CourseOpened,
  Enrol,
  Leave,
  Left,
  MOST_COURSES,
  OpenCourse,
  Seat,
  Subscribe,
  Subscribed,
} from "../../fixtures/school/domain.ts";

const [c, s] = ["maths", "ann"];
const open = (courseId: string, seats: number) => [courseId, CourseOpened({ courseId, seats })] as const;
const takes = (studentId: string, ...courses: string[]) =>
  ["any", ...courses.map((courseId) => Subscribed({ courseId, studentId }))] as const;

Deno.test("a command within a boundary is decided on events of other aggregates and streams", async () => {
  await given(school, open(c, 1)).when(Subscribe({ courseId: c, studentId: s })).then(
    Subscribed({ courseId: c, studentId: s }),
  );
  await given(school).when(Subscribe({ courseId: c, studentId: s })).refused(/no free seat/);
  await given(school, open(c, 1), takes("bob", c)).when(Subscribe({ courseId: c, studentId: s })).refused(/no free/);
  await given(school, open(c, 9), takes(s, "a", "b", "d")).when(Subscribe({ courseId: c, studentId: s }))
    .refused(/three courses/);
  await given(school, open(c, 1), takes("bob", c), ["x", Left({ courseId: c, studentId: "bob" })])
    .when(Subscribe({ courseId: c, studentId: s })).then(Subscribed({ courseId: c, studentId: s }));
  await given(school, open(c, 9)).when(Leave({ courseId: c, studentId: s })).then();
});

Deno.test("commands of one batch see what those before them have led to", async () => {
  const store = new MemoryEventStore();
  const appends = (category: string, type: string, payload: object, tags: readonly string[] = []) => ({
    stream: `${category}-1`,
    category,
    expected: "any" as const,
    messages: [sampleMessage(payload, { type, tags })],
    publish: true,
  });
  await store.commit({
    appends: [
      appends("school::course", "CourseOpened", { courseId: c, seats: 2 }, [`course:${c}`]),
      ...["ann", "bob", "ann", "cid", "dan"].map((studentId) =>
        appends("school::seat:command", "Subscribe", { courseId: c, studentId })
      ),
    ],
  });
  const items = (await store.readLog({ after: 1 })).map((record) => ({ record, attempt: 1 }));
  const runner = new LocalRunner(school, school.handlers.get("Seats")!, {
    reading: {
      readStream: (stream, from) => store.readStream(stream, { from }),
      readRows: () => Promise.resolve([]),
      readTagged: (among, after) => store.readTagged(among, { after }),
    },
    timeout: 1_000,
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  const result = await runner.run(items, new AbortController().signal);
  assert(result !== "apart");
  assert.deepEqual(
    result.effects.outcomes.map(({ status, detail }) => [status, JSON.parse(detail).events ?? JSON.parse(detail).rule]),
    [
      ["accepted", ["Subscribed"]],
      ["accepted", ["Subscribed"]],
      ["refused", "has a seat already"],
      ["refused", "has no free seat"],
      ["refused", "has no free seat"],
    ],
  );
  // What was refused needs no condition.
  assert.deepEqual(result.effects.conditions.map(({ among, after }) => [among.map(({ tag }) => tag), after]), [
    [["course:maths", "student:ann"], 6],
    [["course:maths", "student:bob"], 6],
  ]);
  const tags = result.effects.appends.map(({ category, messages }) => [category, messages[0].tags]);
  assert.deepEqual(tags, [
    ["school::$boundary", ["course:maths", "student:ann"]],
    ["school::$boundary", ["course:maths", "student:bob"]],
  ]);
});

Deno.test("never one too many, in whatever order servers decide and write", async () => {
  await explore(school, {
    commands: [
      (choose) => OpenCourse({ courseId: choose.of(["a", "b"])!, seats: 1 }),
      (choose) => Subscribe({ courseId: choose.of(["a", "b"])!, studentId: choose.of(["1", "2", "3"])! }),
      (choose) => Enrol({ courseId: choose.of(["a", "b"])!, studentId: choose.of(["1", "2", "3"])! }),
      (choose) => Leave({ courseId: choose.of(["a", "b"])!, studentId: choose.of(["1", "2", "3"])! }),
    ],
    always: {
      "no course has more students than seats, and no student more courses than allowed": ({ events }) => {
        const taken = new Map<string, number>();
        for (const { type, payload } of events) {
          if (type === "CourseOpened") continue;
          const { courseId, studentId } = payload as { courseId: string; studentId: string };
          for (const one of [courseId, studentId]) taken.set(one, (taken.get(one) ?? 0) + (type === "Left" ? -1 : 1));
        }
        return [...taken].every(([one, n]) => n <= (/\d/.test(one) ? MOST_COURSES : 1));
      },
    },
    runs: 600,
  });
});

Deno.test("a command that has looked into a boundary is decided on that as well", async () => {
  const Closed = event("Closed", { schema: type<Record<string, never>>() });
  const Term = aggregate("Term", { events: [Closed], initial: () => 0, evolve: { Closed: (n) => n + 1 } });
  const Close = command("Close", { schema: type<{ id: string; courseId: string }>(), target: ({ id }) => id });
  const terms = domain("terms", {
    aggregates: [Term, Course],
    boundaries: [Seat],
    handlers: [
      commandHandler("Terms", Term, {
        commands: [Close],
        handle: {
          Close: async (_n, { payload: { courseId } }, context) => {
            const { state } = await context.load(Seat, { courseId, studentId: "" });
            if (state.free > 0) throw new DomainRuleError("course", "has free seats");
            return Closed({});
          },
        },
      }),
    ],
  });
  await given(terms, open(c, 1)).when(Close({ id: "t", courseId: c })).refused(/free seats/);
  await given(terms, open(c, 1), takes("bob", c)).when(Close({ id: "t", courseId: c })).then(Closed({}));
  // And a client may look, too.
  await using client = await inMemory(school);
  await client.process(OpenCourse({ courseId: c, seats: 3 }));
  await client.process(Subscribe({ courseId: c, studentId: s }));
  const { state, version } = await client.load(Seat, { courseId: c, studentId: s });
  assert.deepEqual(state, { free: 2, courses: [c] });
  assert.equal(version, await client.store.lastPosition());
});

Deno.test("an event that has lost a tag counts no more, although the store still finds it by that", async () => {
  await using client = await inMemory(school);
  await client.process(OpenCourse({ courseId: c, seats: 3 }));
  const [{ position }] = await client.store.readLog({ type: "CourseOpened" });
  await client.store.commit({ tag: [{ position, type: "CourseOpened", tags: ["course:other"] }] });
  assert.equal((await client.load(Seat, { courseId: "other", studentId: s })).state.free, 0);
  assert.equal((await client.load(Seat, { courseId: c, studentId: s })).state.free, 3);
});

Deno.test("a boundary that cannot work is refused when it is defined, or at the first command", async () => {
  const Untagged = event("Untagged", { schema: type<{ id: string }>() });
  const Tagged = event("Tagged", { schema: type<{ id: string }>(), tags: ({ id }) => [id === "nul" ? "\u0000" : id] });
  const among = (key: { id: string }) => [{ tag: key.id }];
  const initial = () => 0;
  assert.throws(
    () => boundary("B", { events: [Untagged], among, initial, evolve: { Untagged: (n) => n } }),
    /boundary "B": event "Untagged" has no tags/,
  );
  assert.throws(
    () => boundary("B", { events: [Tagged], among, initial, evolve: {} as never }),
    /boundary "B": its evolve has no function for "Tagged"/,
  );
  assert.throws(
    () => boundary("B", { events: [Tagged], among: undefined as never, initial, evolve: { Tagged: (n) => n } }),
    /"among" is no function/,
  );
  assert.throws(() => event("E", { schema: type<string>(), tags: ["a"] as never }), /"tags" is no function/);
  const B = boundary("B", { events: [Tagged], among, initial, evolve: { Tagged: (n) => n + 1 } });
  const Do = command("Do", { schema: type<{ id: string }>(), target: ({ id }) => id });
  const doing = (over: Partial<Parameters<typeof boundary>[1]>, made: () => unknown = () => Tagged({ id: "x" })) => {
    const within = boundary("B", {
      events: [Tagged],
      among,
      initial,
      evolve: { Tagged: (n: number) => n + 1 },
      ...over,
    } as never) as unknown as typeof B;
    const handler = commandHandler("Doer", within, { commands: [Do], handle: { Do: made as never } });
    return given(domain("d", { aggregates: [], boundaries: [within], handlers: [handler] }));
  };
  const wrong: [RegExp, ...Parameters<typeof doing>][] = [
    [/among of boundary "B" returned no tags; return a list/, { among: () => [] }],
    [/among of boundary "B" returned undefined; return a list/, { among: () => undefined as never }],
    [/it has 300 characters; at most 200/, { among: () => [{ tag: "x".repeat(300) }] }],
    [/names "Nope", which is not one of its events/, { among: () => [{ tag: "x", types: ["Nope"] }] }],
    [/a tag is a text, and this is a number/, {}, () => Tagged({ id: 5 as never })],
    [/it has U\+0000 or half of a character/, {}, () => Tagged({ id: "nul" })],
    [/evolve of "B" for "Tagged" returned undefined/, { evolve: { Tagged: () => undefined } as never }, () => []],
    [/it is not an event of boundary "B"/, {}, () => Untagged({ id: "x" })],
  ];
  for (const [fault, over, made] of wrong) {
    const scenario = doing(over, made).when(
      ...(/evolve/.test(fault.source) ? [["x", Tagged({ id: "k" })] as never] : []),
      Do({ id: "k" }),
    );
    await assert.rejects(async () => await scenario, fault, String(fault));
  }
  assert.throws(
    () =>
      domain("d", { aggregates: [], handlers: [commandHandler("H", B, { commands: [Do], handle: { Do: () => [] } })] }),
    /handler "H" needs boundary "B"; add the boundary to "boundaries"/,
  );
  const fact = aggregate("A", { events: [], initial, evolve: {}, facts: { event: Tagged, from: () => null } });
  assert.throws(
    () => domain("d", { aggregates: [fact], boundaries: [B], handlers: [] }),
    /boundary "B" looks for "Tagged", which is a fact: it follows from events, so look for those/,
  );
  assert.throws(
    () =>
      domain("d", {
        aggregates: [aggregate("B", { events: [], initial, evolve: {} })],
        boundaries: [B],
        handlers: [],
      }),
    /boundary "B" has the name of an aggregate/,
  );
});

Deno.test("what tags, among and evolve change of what they are given changes nothing", async () => {
  const Named = event("Named", {
    schema: type<{ names: string[] }>(),
    tags: ({ names }) => (names as string[]).sort(),
  });
  const Name = command("Name", { schema: type<{ names: string[] }>() });
  const change = (key: { names: string[] }) => key.names.reverse().map((tag) => ({ tag }));
  const naming = (among: (key: { names: string[] }) => { tag: string }[]) => {
    const Names = boundary("Names", { events: [Named], among, initial: () => 0, evolve: { Named: (n) => n + 1 } });
    const handler = commandHandler("Namer", Names, {
      commands: [Name],
      handle: { Name: (_n, { payload }) => Named(payload as { names: string[] }) },
    });
    return domain("naming", { aggregates: [], boundaries: [Names], handlers: [handler] });
  };
  const names = ["z", "a", "b"];
  await given(naming(() => [{ tag: "a" }])).when(Name({ names })).then(Named({ names: ["z", "a", "b"] }));
  await assert.rejects(
    async () => await given(naming(change)).when(Name({ names })),
    /Cannot assign to read only|frozen/,
  );
  await using client = await inMemory(school);
  await assert.rejects(
    client.load(Seat, { courseId: new Set(["a"]), studentId: "" } as never),
    /its key is not JSON \(courseId/,
  );
  await assert.rejects(client.load(Seat, undefined as never), /its key is not JSON/);
});

Deno.test("events of a type without tags in the code may lack them, also if all had them once", async () => {
  const store = new MemoryEventStore();
  const types = [{ type: "CourseOpened", category: "school::course" }];
  const opened = (tags?: string[]) => ({
    category: "school::course",
    stream: "school::course-a",
    expected: "any" as const,
    messages: [sampleMessage({ courseId: "a", seats: 1 }, { type: "CourseOpened", ...(tags && { tags }) })],
    publish: true,
  });
  assert.deepEqual(await untaggedTypes(store, types), []);
  await store.commit({ appends: [opened(["course:a"])] });
  assert.deepEqual(await untaggedTypes(store, types), []);
  // Code of before runs again, and writes none.
  await noteUntagged(store, { known: new Set(["CourseOpened"]), tagged: new Set() });
  await store.commit({ appends: [opened()] });
  assert.deepEqual((await untaggedTypes(store, types)).map(({ type }) => type), ["CourseOpened"]);
  // A client that decides by itself looks, too.
  const config = loadConfig({ text: 'command_processing = "sync"', env: () => undefined });
  const client = new Client(school, store, config);
  await assert.rejects(
    client.process(Subscribe({ courseId: "a", studentId: "s" })),
    /"CourseOpened" at position 1 is from before/,
  );
  await assert.rejects(client.load(Seat, { courseId: "a", studentId: "s" }), /run annals store tag/);
  await store.commit({
    checkpoint: allTagged("CourseOpened", 2),
    tag: [{ position: 2, type: "CourseOpened", tags: ["course:a"] }],
  });
  assert.equal((await client.load(Seat, { courseId: "a", studentId: "s" })).state.free, 2);
});

Deno.test("an event of an aggregate is appended to that, not to the boundary", async () => {
  const Do = command("Do", {
    schema: type<{ courseId: string; studentId: string }>(),
    target: ({ courseId }) => courseId,
  });
  const doing = (handle: Parameters<typeof commandHandler<typeof Seat, [typeof Do]>>[2]["handle"]["Do"]) =>
    given(domain("d", {
      aggregates: [Course],
      boundaries: [Seat],
      handlers: [commandHandler("Doer", Seat, { commands: [Do], handle: { Do: handle } })],
    }));
  const command_ = Do({ courseId: c, studentId: s });
  const wrong = doing(() => CourseOpened({ courseId: c, seats: 1 })).when(command_);
  await assert.rejects(
    async () => await wrong,
    /it is one of an aggregate \(d::course\); append it to that: await context\.append/,
  );
  await doing(async (_state, { payload: { courseId, studentId } }, context) => {
    await context.append(Course, courseId, CourseOpened({ courseId, seats: MOST_COURSES }));
    // It counts at once.
    const { state } = await context.load(Seat, { courseId, studentId });
    assert.equal(state.free, MOST_COURSES);
    return Subscribed({ courseId, studentId });
  }).when(command_).then(
    CourseOpened({ courseId: c, seats: MOST_COURSES }),
    Subscribed({ courseId: c, studentId: s }),
  );
});
