import assert from "node:assert/strict";
import { parse } from "node:path";
import { deno, INIT, Project } from "../../support/project.ts";
import { shellWord } from "../../../src/init/names.ts";
import { canStartServices, PostgresServer, RedisServer } from "../../support/services.ts";

/** The commands of a recording in docs/start.md, each with what it prints. */
async function session(name: string): Promise<{ args: string[]; printed: string }[]> {
  const text = await Deno.readTextFile(new URL("../../../docs/start.md", import.meta.url));
  const recorded = [...text.matchAll(/```console (\w+)\n(.*?)```/gs)].flatMap(([, of, block]) =>
    of === name ? block : []
  );
  return recorded.join("").split(/^\$ deno task /m).slice(1).map((part) => {
    const [line, ...printed] = part.split("\n");
    const args = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word);
    return { args, printed: printed.join("\n") };
  });
}

const ID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** Without what differs each time, in columns of any width. */
function comparable(text: string, name: string): string {
  return text.replaceAll("my-bank", name).replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME").replace(
    /process \S+:/,
    "process X:",
  )
    .replace(ID, "ID").replace(/cli:\S+/g, "cli:X")
    .replace(/ +/g, " ").trim();
}

/** The id of the project's only dead letter. */
async function deadLetter(project: Project): Promise<string> {
  const { stdout } = await project.task("annals", "dlq", "list");
  return stdout.match(ID)![0];
}

/** Runs a recording again in a project; a server has to run. Of what ends with `…`, the rest is not compared. */
async function repeat(project: Project, name: string, recording = "session"): Promise<void> {
  const commands = await session(recording);
  assert.ok(commands.length >= 3);
  for (const { args: recorded, printed } of commands) {
    const [expected, ...open] = comparable(printed, name).split("\n…");
    // What has an id there has another one here.
    const args = await Promise.all(recorded.map((arg) => arg.match(ID) ? deadLetter(project) : arg));
    const run = async () => {
      const { stdout, stderr } = await project.task(...args);
      const all = comparable(stdout === "" ? stderr.replace(/^Task .*\n/, "") : stdout, name);
      return open.length > 0 ? all.slice(0, expected.length) : all;
    };
    let said = await run();
    // What the operator sees of groups that nobody has waited for comes a moment later.
    for (let tries = 0; args[0] === "annals" && said !== expected && tries < 50; tries++) said = await run();
    assert.equal(said, expected, args.join(" "));
  }
}

Deno.test("a new project runs, is operated and tested by its own tasks alone", async () => {
  // Of a folder whose name needs care everywhere.
  await using project = await Project.make("Bänk & Co (50%) #1");
  const checks = Promise.all([
    // Types are checked once, of all files.
    project.task("test", "--no-check"),
    deno(["check"], project.folder),
    deno(["lint"], project.folder),
    deno(["fmt", "--check"], project.folder),
  ]);
  const server = await project.start();
  assert.match(server.stdout, /event store +sqlite +\.annals\/bank-co-50-1\.db/);
  await repeat(project, "bank-co-50-1");
  const listed = await project.task("client", "list");
  assert.equal(listed.stdout, '{ accountId: "alice", owner: "Alice Johnson", balance: 3800 }\n');
  const wrong = await project.task("client", "withdraw", "alice", "much");
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /amount: Invalid input/);
  // The same without the task: it finds ./domain.ts.
  const health = await deno(["run", "-A", "@annals/annals/cli", "health"], project.folder);
  assert.equal(health.code, 0, health.stderr);
  const read = await project.task("annals", "events", "read", "bank-co-50-1::account-alice");
  assert.match(read.stdout, /AccountOpened[^]*MoneyDeposited[^]*MoneyWithdrawn/);
  const [tested, ...others] = await checks;
  assert.equal(tested.code, 0, tested.stdout + tested.stderr);
  assert.match(tested.stdout, /4 passed/);
  for (const { code, stdout, stderr } of others) assert.equal(code, 0, stdout + stderr);
  assert.equal(await server.stop(), 0);
  assert.match(server.stderr, /Watchman: A large withdrawal/);
  const away = await project.task("client", "deposit", "alice", "1");
  assert.match(away.stderr, /no server is running; start one: deno task start/);
});

Deno.test("what the docs let fail is found and replayed as they say", async () => {
  await using project = await Project.make("my-bank");
  const [, line] = /## A failure\n.*?```ts ignore\n(.*?)\n```/s.exec(
    await Deno.readTextFile(new URL("../../../docs/start.md", import.meta.url)),
  )!;
  const domain = `${project.folder}/domain.ts`;
  const good = await Deno.readTextFile(domain);
  const bad = good.replace("    MoneyWithdrawn: ({ payload }, context) => {\n", `$&${line}\n`);
  assert.notEqual(bad, good);
  await Deno.writeTextFile(domain, bad);
  // Four attempts, as by default, within less than a second.
  await Deno.writeTextFile(
    `${project.folder}/domain.toml`,
    "[server.stream_subscription]\nretry_delay_seconds = 0.01\n",
  );
  const failing = await project.start();
  // The positions of the recording come after those of the session.
  for (const { args } of await session("session")) if (args[0] === "client") await project.task(...args);
  await repeat(project, "my-bank", "failing");
  assert.equal(await failing.stop(), 0);
  await Deno.writeTextFile(domain, good);
  const mended = await project.start();
  await repeat(project, "my-bank", "mended");
  assert.equal(await mended.stop(), 0);
  assert.match(
    failing.stderr,
    /MoneyWithdrawn at 13 failed \(attempt 1 of 4\)[^]*Gave up on MoneyWithdrawn at 13, kept as/,
  );
  assert.match(mended.stderr, /A large withdrawal accountId=bob amount=1200/);
});

Deno.test({
  name: "the same project runs on Redis and PostgreSQL by two variables, without a file",
  ignore: !canStartServices(),
  fn: async () => {
    const [redis, postgres] = await Promise.all([RedisServer.start(), PostgresServer.start()]);
    await using _redis = redis;
    await using _postgres = postgres;
    await using project = await Project.make("bank", { REDIS_URL: redis.url, DATABASE_URL: postgres.url });
    const server = await project.start();
    assert.match(server.stdout, /event store +postgres[^]*broker +redis/);
    await repeat(project, "bank");
    const shown = await project.task("annals", "config", "show");
    assert.match(shown.stdout, /event_store\.url +postgres:\/\/annals:\*\*\*@\S+ +DATABASE_URL \(environment\)/);
    assert.match(shown.stdout, /brokers\.default\.url +redis:\S+ +REDIS_URL \(environment\)/);
    assert.equal(await server.stop(), 0);
    // Nothing went elsewhere.
    await assert.rejects(Deno.stat(`${project.folder}/.annals/bank.db`), Deno.errors.NotFound);
  },
});

/** Runs `init` in a folder of its own, which `prepare` may fill. */
async function init(args: string[], prepare: (top: string) => Promise<unknown> = async () => {}) {
  const top = await Deno.makeTempDir({ prefix: "annals-" });
  try {
    await prepare(top);
    const said = await deno(["run", "-A", "--no-check", INIT, ...args], top);
    const names: string[] = [];
    const walk = (path: string) => {
      for (const { name, isDirectory } of Deno.readDirSync(`${top}/${path}`)) {
        names.push(`${path}${name}`);
        if (isDirectory) walk(`${path}${name}/`);
      }
    };
    walk("");
    return { ...said, names: names.sort() };
  } finally {
    await Deno.remove(top, { recursive: true });
  }
}

Deno.test({
  name: "an image is built without the variables that a container gets",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using project = await Project.make("my-bank");
    const dockerfile = await Deno.readTextFile(`${project.folder}/Dockerfile`);
    const [, commands] = /\nRUN (deno cache .*?) \\\n {2}&& mkdir/s.exec(dockerfile)!;
    const build = async (toml: string) => {
      await Deno.writeTextFile(`${project.folder}/domain.toml`, toml);
      const { code, stderr } = await new Deno.Command("sh", { args: ["-c", commands], cwd: project.folder }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
    };
    await build('[server.http]\napi = true\ntoken = "${NO_SUCH_VARIABLE}"\n');
    const domain = `${project.folder}/domain.ts`;
    await Deno.writeTextFile(domain, `${await Deno.readTextFile(domain)}\nDeno.env.get("NO_SUCH_VARIABLE");\n`);
    await build('[server.permissions."*"]\nenv = ["NO_SUCH_VARIABLE"]\n');
  },
});

Deno.test("init overwrites nothing, and says what is in its way", async () => {
  const text = "my own";
  const taken = await init(["bank"], async (top) => {
    await Deno.mkdir(`${top}/bank`);
    await Deno.writeTextFile(`${top}/bank/deno.json`, text);
    await Deno.symlink("nowhere", `${top}/bank/.gitignore`);
  });
  assert.equal(taken.code, 2);
  assert.match(taken.stderr, /there is deno\.json, \.gitignore already, and nothing is overwritten; choose another/);
  assert.deepEqual(taken.names, ["bank", "bank/.gitignore", "bank/deno.json"]);
  const file = await init(["bank"], (top) => Deno.writeTextFile(`${top}/bank`, text));
  assert.equal(file.code, 2);
  assert.match(file.stderr, /it is a file; choose another folder/);
});

Deno.test("init takes a folder with other files, and makes those above it", async () => {
  const beside = await init([".", "--name=bank"], (top) => Deno.mkdir(`${top}/.git`));
  assert.equal(beside.code, 0, beside.stderr);
  assert.ok(beside.names.includes("domain.ts"));
  assert.doesNotMatch(beside.stdout, /cd /);
  const deep = await init(["a/b/bank"]);
  assert.equal(deep.code, 0, deep.stderr);
  assert.ok(deep.names.includes("a/b/bank/domain.ts"));
  assert.match(deep.stdout, /cd a\/b\/bank\n/);
});

Deno.test({
  name: "init prints a command that any folder's name survives in a shell",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    for (const name of ["my bank", "it's", "x'y\"z", "cash$HOME`id`", "-x", "--", "a\\\\b", "Müller & Co"]) {
      const { stdout } = await new Deno.Command("sh", { args: ["-c", `printf %s ${shellWord(name)}`] }).output();
      assert.equal(new TextDecoder().decode(stdout).replace(/^\.\/-/, "-"), name);
    }
    const { stdout } = await init(["--name", "bank", "--", "-cash$HOME"]);
    assert.match(stdout, /\n {2}cd '\.\/-cash\$HOME'\n/);
  },
});

Deno.test("init removes what it has written when it cannot write the rest", async () => {
  // The folder's name leaves the longest ones no room: a path has at most 4096 bytes.
  const part = "n".repeat(200);
  const top = Math.floor(3_800 / 201);
  const long = [...new Array(top).fill(part), "m".repeat(4_096 - 18 - top * 201 - 30)].join("/");
  const failed = await init([`${long}`, "--name=bank"]);
  assert.equal(failed.code, 1, failed.stderr);
  assert.match(failed.stderr, /Cannot make a project in .*; nothing was left behind/);
  assert.deepEqual(failed.names, []);
});

Deno.test("init refuses a name that no domain can have", async () => {
  for (
    const [args, message] of [
      [["2024"], /of the folder "2024": a domain's name starts with a lower-case letter.*--name=my-bank/],
      [["銀行"], /of the folder "銀行"/],
      [["bank", "--name=My Bank"], /Cannot use the name "My Bank"/],
      [["bank", `--name=${"b".repeat(101)}`], /at most 100 characters/],
      [[parse(Deno.cwd()).root], /of the folder ""/],
      [[""], /Cannot make a project in "": name a folder/],
      [[" "], /name a folder/],
      [[], /missing required argument 'folder'/],
      [["a", "b"], /too many arguments/],
    ] as const
  ) {
    const refused = await init([...args]);
    assert.equal(refused.code, 2, `${args}: ${refused.stderr}`);
    assert.match(refused.stderr, message);
    assert.deepEqual(refused.names, []);
  }
});
