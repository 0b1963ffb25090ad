import fc from "fast-check";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import { Exploration, type Seen } from "./exploration.ts";
import { withStubs } from "./stubs.ts";

/** Chooses at random; a run that fails is repeated with simpler choices. */
export interface Choose {
  /** A whole number, both ends included. */
  int(from: number, to: number): number;
  /** One of a list; `undefined` if that is empty. */
  of<T>(list: readonly T[]): T | undefined;
  /** True or false. */
  bool(): boolean;
}

/** Makes a command at random; `null` if there is none to send now. */
export type MakeCommand = (choose: Choose, seen: Seen) => CommandDraft | null;

/** Rules by their wording: each returns whether it holds, or throws. */
export type Rules = Readonly<Record<string, (seen: Seen) => boolean>>;

/** How to explore a domain. */
export interface ExploreOptions {
  /** What may be sent. */
  readonly commands: readonly MakeCommand[];
  /** What holds at any time, after each commit. @default {none} */
  readonly always?: Rules;
  /** What holds once everything is handled. @default {none} */
  readonly eventually?: Rules;
  /** How many runs to try. @default {100} */
  readonly runs?: number;
  /** How many steps a run has at most, before everything left is handled. @default {50} */
  readonly steps?: number;
  /** That of a failed run, to repeat it. @default {another each time} */
  readonly seed?: number;
  /** Globals to replace meanwhile, like `{ fetch: … }`: handlers run many times. @default {none} */
  readonly stubs?: Readonly<Record<string, unknown>>;
}

const step = fc.record({
  what: fc.constantFrom("send", "work", "handle", "write", "elapse", "again", "crash", "hand over"),
  choices: fc.array(fc.nat(1_000_000), { maxLength: 8 }),
});

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Takes choices from a list, and the simplest ones after its end. */
function chooser(choices: readonly number[]): Choose {
  let i = 0;
  const next = (): number => choices[i++] ?? 0;
  return {
    int: (from, to) => from + next() % (to - from + 1),
    of: (list) => list.length === 0 ? undefined : list[next() % list.length],
    bool: () => next() % 2 === 1,
  };
}

function check(kind: string, rules: Rules, seen: Seen): void {
  for (const [rule, holds] of Object.entries(rules)) {
    const result = holds(seen);
    if (typeof result !== "boolean") {
      throw new TypeError(`the rule "${rule}" returned ${String(result)}; return whether it holds (missing return?)`);
    }
    if (!result) throw new Error(`"${rule}" does not hold${kind}`);
  }
}

function wordsOf(error: unknown): string {
  const { name, message } = error as Error;
  return name === "Error" ? message : `${name}: ${message}`;
}

/** Carries out a plan. */
async function run(domain: Domain, options: ExploreOptions, plan: readonly Step[], history: string[]): Promise<void> {
  const { commands, always = {}, eventually = {} } = options;
  const exploration = new Exploration(domain, history, (seen) => check("", always, seen));
  let last: CommandDraft | undefined;
  const work = async (group: number): Promise<void> => {
    await exploration.handle(group);
    await exploration.write(group);
  };
  try {
    for (const { what, choices } of plan) {
      const choose = chooser(choices);
      const group = () => choose.int(0, exploration.groups - 1);
      if (what === "send") {
        const command = choose.of(commands)?.(choose, exploration.seen) ?? undefined;
        if (command) await exploration.send(last = command);
      } else if (what === "again") {
        if (last) await exploration.send(last);
      } else if (what === "work") await work(choose.of(exploration.busy) ?? 0);
      else if (what === "handle") await exploration.handle(group());
      else if (what === "write") await exploration.write(group());
      else if (what === "crash") exploration.crash(group());
      else if (what === "hand over") exploration.handOver(group());
      else await exploration.elapse(1_000 * choose.int(1, 100_000));
    }
    do {
      for (let busy = exploration.busy; busy.length > 0; busy = exploration.busy) {
        // All groups at the same time, each by two servers in turns: what they have read or remember may be old.
        for (const group of busy) await exploration.handle(group);
        for (const group of busy) {
          await exploration.write(group);
          exploration.swap(group);
        }
      }
    } while (await exploration.elapseUntilDue());
    check(" after everything is handled", eventually, exploration.seen);
  } finally {
    await exploration.close();
  }
}

/**
 * Tries a domain with random commands, some of them sent twice, while its groups lag behind each other, crash between
 * handling and writing, and move between servers. If a rule does not hold, or a handler fails other than by a refusal, it looks for the shortest
 * history that shows it.
 *
 * @param domain The domain.
 * @param options What to send, and what has to hold.
 * @throws {Error} If something does not hold: the message has the history, and the seed that repeats it.
 *
 * @example A counter that stays below ten
 * ```ts
 * import { aggregate, command, commandHandler, domain, event, type } from "@annals/annals";
 * import { explore } from "@annals/annals/testing";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Counter = aggregate("Counter", {
 *   events: [Counted],
 *   initial: () => 0,
 *   evolve: { Counted: (state, { payload }) => state + payload.by },
 *   invariants: { "may not exceed ten": (state) => state <= 10 },
 * });
 * const Count = command("Count", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
 * const Counters = commandHandler("Counters", Counter, {
 *   commands: [Count],
 *   handle: { Count: (_state, { payload }) => Counted({ by: payload.by }) },
 * });
 *
 * await explore(domain("counting", { aggregates: [Counter], handlers: [Counters] }), {
 *   commands: [(choose) => Count({ id: choose.of(["a", "b"])!, by: choose.int(1, 5) })],
 *   always: { "no counter exceeds ten": (seen) => seen.ids(Counter).every((id) => seen.state(Counter, id) <= 10) },
 * });
 * ```
 */
export async function explore(domain: Domain, options: ExploreOptions): Promise<void> {
  const { runs = 100, steps = 50, seed, stubs = {} } = options;
  const plan = fc.array(step, { maxLength: steps, size: "max" });
  await withStubs(domain.name, stubs, async () => {
    const details = await fc.check(fc.asyncProperty(plan, (plan) => run(domain, options, plan, [])), {
      numRuns: runs,
      ...(seed !== undefined && { seed }),
    });
    if (!details.failed) return;
    const history: string[] = [];
    const [shortest = []] = details.counterexample ?? [];
    const error = await run(domain, options, shortest, history).then(() => details.errorInstance, (error) => error);
    const lines = history.map((line, i) => `${String(i + 1).padStart(4)}. ${line}`);
    throw new Error(
      [
        `Domain "${domain.name}": ${wordsOf(error)}`,
        `(run ${details.numRuns} of ${runs}; { seed: ${details.seed} } repeats it). The shortest history found:`,
        ...lines,
      ].join("\n"),
      { cause: error },
    );
  });
}
