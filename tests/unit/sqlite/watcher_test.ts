import assert from "node:assert/strict";
import { FileWatcher } from "../../../src/sqlite/watcher.ts";
import { within } from "../../../src/lib/within.ts";

/** A file, and what was written by others and not seen yet. */
class Written {
  readonly path = Deno.makeTempFileSync();
  #unseen = 0;
  #seen: (() => void)[] = [];

  /** Writes, and resolves when that was seen. */
  write(touch: boolean): Promise<void> {
    this.#unseen++;
    const seen = new Promise<void>((resolve) => this.#seen.push(resolve));
    if (touch) Deno.writeTextFileSync(this.path, "x", { append: true });
    return seen;
  }

  readonly look = (): boolean => {
    const changed = this.#unseen > 0;
    this.#unseen = 0;
    for (const resolve of this.#seen.splice(0)) resolve();
    return changed;
  };

  [Symbol.dispose](): void {
    Deno.removeSync(this.path);
  }
}

/** Much longer than anything takes here. */
const FOREVER = 10_000;

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function sees(file: Written, touch: boolean): Promise<void> {
  assert.equal(await within(FOREVER, file.write(touch).then(() => "seen")), "seen");
}

Deno.test("a file watcher sees writes: at once, when it was calm for long, and again after many", async () => {
  using file = new Written();
  const watcher = new FileWatcher(file.path, file.look, 2);
  watcher.start();
  await sees(file, true);
  await wait(600);
  await sees(file, true);
  const until = performance.now() + 600;
  while (performance.now() < until) await sees(file, true);
  await wait(600);
  await sees(file, true);
  watcher.stop();
});

Deno.test("a file watcher sees writes also where nobody is notified of them", async () => {
  using file = new Written();
  const watcher = new FileWatcher(file.path, file.look, 2);
  watcher.start();
  await wait(600);
  for (let i = 0; i < 20; i++) await sees(file, false);
  watcher.stop();
});

Deno.test("a file watcher sees writes also where the file cannot be watched", async () => {
  using file = new Written();
  const watcher = new FileWatcher(`${file.path}-missing`, file.look, 2);
  watcher.start();
  await wait(600);
  for (let i = 0; i < 5; i++) await sees(file, true);
  watcher.stop();
});
