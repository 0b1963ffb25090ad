/**
 * Draws the pictures of the README and docs/dashboard.md: `deno task screenshots`. Needs Debian's Chromium.
 *
 * @module
 */
import { AilingBank } from "../tests/support/ailing_bank.ts";
import { startBrowser } from "../tests/support/browser.ts";
import { MakeDeposit } from "../examples/fidelis/account.ts";

const FOLDER = new URL("../docs/images/", import.meta.url);

await Deno.mkdir(FOLDER, { recursive: true });
await using bank = await AilingBank.start();
await bank.fill();
await using browser = await startBrowser("/usr/bin/chromium");

/** Takes a picture of a place, in light or dark. */
async function take(name: string, place: string, scheme: "light" | "dark", seconds = 2): Promise<void> {
  const viewport = { width: 1280, height: 860 };
  const page = await browser.newPage({ viewport, locale: "en-GB", colorScheme: scheme });
  await page.goto(`${bank.url}/#/${place}`);
  await page.waitForTimeout(seconds * 1_000);
  await page.screenshot({ path: new URL(`${name}.png`, FOLDER).pathname });
  await page.close();
}

// Something has to move in the charts.
const stop = new AbortController();
const moving = (async () => {
  for (let i = 0; !stop.signal.aborted; i++) {
    await bank.client.process(MakeDeposit({ accountId: `acc-${i % 6 + 1}`, amount: 1 }), { wait: true });
    await new Promise((resolve) => setTimeout(resolve, 30 + 25 * Math.sin(i / 40)));
  }
})();
await take("dashboard-light", "", "light", 45);
await take("dashboard-dark", "", "dark", 5);
stop.abort();
await moving;
const [letter] = await bank.client.store.deadLetters({ group: "StatementPrinter", limit: 1 });
await take("dead-letter", `dead-letters?group=StatementPrinter&id=${letter.id}`, "light");
const [transfer] = await bank.client.store.readLog({ type: "InitiateTransfer", limit: 1 });
await take("trace", `log/trace/${transfer.id}`, "light");
