import { type Command, Option } from "commander";
import { replayDeadLetters } from "../operating/dead_letters.ts";
import { waitingMessages } from "../operating/deferred.ts";
import { within } from "../lib/within.ts";
import { textOf } from "../messages/thrown.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { COLORS, print } from "./output.ts";
import { EndedError } from "./run.ts";
import { render } from "./top/render.ts";
import { ratesOf, type Sample, take } from "./top/sample.ts";
import { begin, type Effect, type Happening, type Replay, type Sort, SORTS, type Top, update } from "./top/state.ts";
import { Terminal } from "./top/terminal.ts";
import { recorded } from "./recorded.ts";

/** How often is looked, in milliseconds. */
const EVERY = 1_000;

/** How long the store may take to answer before that is shown, in milliseconds. */
const PATIENCE = 3_000;

/** How many dead letters and deferred messages of a group are read, and how large their payloads may be. */
const MOST_SHOWN = 200;
const LISTED = 2_000;

/** How long the end waits for the store, in milliseconds. */
const CLOSING = 1_000;

async function replay(operator: Operator, { group, ids }: Replay): Promise<string> {
  const which = ids === undefined ? { group } : { ids };
  const { replayed, left } = await recorded(
    operator,
    "dlq replay",
    { ...which, isAnyway: false },
    () => replayDeadLetters(operator, which),
  );
  const told = left === 0
    ? ""
    : ` ${left} were not: a process was told that they were given up, and may have undone them; see: annals dlq replay --anyway`;
  return `Replayed ${replayed}.${told}`;
}

/** Shows a domain until somebody has had enough. */
class LiveView {
  #operator: Operator;
  #terminal: Terminal;
  #top: Top;
  #last: Sample | null = null;
  #end = Promise.withResolvers<number>();
  #isOver = false;
  #wake: (() => void) | undefined;
  #doing: Promise<void> = Promise.resolve();

  constructor(operator: Operator, sort: Sort) {
    this.#operator = operator;
    this.#top = begin(operator.domain.name, sort);
    this.#terminal = new Terminal({
      key: (key) => this.#happen({ key }),
      resized: () => this.#draw(),
      ended: (code) => this.#end.resolve(code),
    });
  }

  /** Returns the exit code, once it has ended. */
  async run(): Promise<number> {
    const looking = this.#look().catch((error) => this.#end.reject(error));
    try {
      return await this.#end.promise;
    } finally {
      this.#isOver = true;
      this.#terminal[Symbol.dispose]();
      this.#wake?.();
      // What was asked of the store is answered before that is closed, unless it is away.
      await within(CLOSING, Promise.all([looking, this.#doing]));
    }
  }

  async #look(): Promise<void> {
    this.#draw();
    while (!this.#isOver) {
      try {
        this.#last = await this.#patiently(take(this.#operator, this.#last));
        this.#happen({ sample: this.#last });
      } catch (error) {
        this.#happen({ failed: textOf(error) });
      }
      if (this.#isOver) break;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, EVERY);
        this.#wake = () => (clearTimeout(timer), resolve());
      });
    }
  }

  /** Waits as long as it takes, and shows meanwhile that what is on the screen is old. */
  async #patiently<T>(answer: Promise<T>): Promise<T> {
    const asked = performance.now();
    const timer = setInterval(() => {
      const seconds = Math.round((performance.now() - asked) / 1000);
      this.#happen({ failed: `The store has not answered for ${seconds} s; this is how it was before` });
    }, PATIENCE);
    try {
      return await answer;
    } finally {
      clearInterval(timer);
    }
  }

  #draw(): void {
    if (!this.#isOver) this.#terminal.draw(render(this.#top, this.#terminal.size, COLORS));
  }

  #happen(happening: Happening): void {
    if (this.#isOver) return;
    try {
      const { top, effect } = update(this.#top, happening);
      this.#top = top;
      this.#draw();
      if (effect) this.#do(effect);
    } catch (error) {
      // The terminal is given back first.
      this.#end.reject(error);
    }
  }

  #do(effect: Effect): void {
    if ("quit" in effect) return this.#end.resolve(0);
    const work = "load" in effect ? this.#load(effect.load) : this.#replay(effect.replay);
    this.#doing = work.catch((error) => this.#happen({ failed: textOf(error) }));
  }

  async #load(group: string): Promise<void> {
    const { store } = this.#operator;
    const [letters, waiting] = await Promise.all([
      store.deadLetters({ group, limit: MOST_SHOWN, largest: LISTED }),
      waitingMessages(this.#operator, group, { limit: MOST_SHOWN }),
    ]);
    this.#happen({ loaded: { group, letters, waiting } });
  }

  async #replay(which: Replay): Promise<void> {
    // What was asked for is no longer under way, whatever came of it.
    this.#happen({ done: await replay(this.#operator, which).catch((error) => `Replaying failed: ${textOf(error)}`) });
  }
}

/** Prints what is to be seen now: two looks, since rates are between them. */
async function once(operator: Operator, sort: Sort, json: boolean | undefined): Promise<void> {
  const first = await take(operator, null);
  await new Promise((resolve) => setTimeout(resolve, EVERY));
  const samples = [first, await take(operator, first)];
  let top = begin(operator.domain.name, sort);
  for (const sample of samples) top = update(top, { sample }).top;
  const { groups, processes, outbox, position, time } = samples[1];
  const value = {
    time,
    position,
    processes,
    outbox,
    groups: groups.map((group) => ({ ...group, rates: ratesOf(samples, group.group) })),
  };
  const columns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : Number(Deno.env.get("COLUMNS")) || Infinity;
  print(json, value, () => render({ ...top, selected: null }, { columns, rows: Infinity }, COLORS, false).join("\n"));
}

/** `annals top` */
export function addTop(program: Command): void {
  program.command("top").description(
    "watch groups and processes live: rates, lag, dead letters; inspect and replay them",
  )
    .option("--once", "print what is to be seen now, and end; so does an output that is no terminal")
    .addOption(new Option("--sort <key>", "how groups are sorted").choices(SORTS).default("trouble"))
    .option("--json", "print one JSON document; implies --once")
    .action(({ once: isOnce, sort, json }) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const isLive = !isOnce && !json && Deno.stdout.isTerminal() && Deno.stdin.isTerminal();
        if (!isLive) return await once(operator, sort, json);
        const code = await new LiveView(operator, sort).run();
        if (code !== 0) throw new EndedError(code);
      })
    );
}
