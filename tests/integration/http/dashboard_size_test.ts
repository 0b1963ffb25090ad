import assert from "node:assert/strict";
import unruly from "../../fixtures/unruly/domain.ts";
import { Dashboard, startBrowser } from "../../support/browser.ts";
import { Site } from "../../support/server.ts";
import { freePort, programs } from "../../support/services.ts";
import type { DeadLetter } from "../../../src/store/port.ts";
import { newId } from "../../../src/messages/ids.ts";

const MODULE = new URL("../../fixtures/unruly/domain.ts", import.meta.url);
const MANY = 100_000;

/** More rows than fit on a screen several times over would be all of them. */
const FEW_ROWS = 150;

/** A dead letter that no server has given up. */
function letterOf(n: number): DeadLetter {
  const id = newId();
  return {
    id,
    group: "Thrower",
    reason: "handler failed",
    error: `thrown ${n}`,
    stack: null,
    attempts: [{ at: n, error: "thrown" }],
    deadAt: 1_700_000_000_000 + n,
    message: {
      position: n + 1,
      id: newId(),
      type: "Asked",
      schemaVersion: 1,
      category: "unruly::request",
      stream: `unruly::request-${n}`,
      version: 0,
      time: 1_700_000_000_000,
      correlationId: id,
      causationId: null,
      data: '{"kind":"Thrower"}',
      metadata: null,
    },
  };
}

Deno.test({
  name: "the dashboard with 100,000 dead letters: few rows in the page, by keys alone, on a phone and in the dark",
  ignore: programs().chromium === null,
  async fn() {
    const port = freePort();
    await using site = Site.make("unruly", MODULE, `[server.http]\nlisten = "127.0.0.1:${port}"\n`);
    const server = await site.start().running();
    await using client = await site.connect(unruly);
    for (let n = 0; n < MANY; n += 10_000) {
      await client.store.commit({ deadLetters: Array.from({ length: 10_000 }, (_, i) => letterOf(n + i)) });
    }
    await using browser = await startBrowser(programs().chromium!);
    {
      await using dashboard = await Dashboard.open(browser, `http://127.0.0.1:${port}`);
      const { page, panel } = dashboard;
      await dashboard.sees("100,000");
      await dashboard.go("dead-letters");
      await dashboard.row("thrown 99999").waitFor();
      assert.ok(await dashboard.count(".list .row") < FEW_ROWS);
      await page.mouse.move(600, 500);
      for (let i = 0; i < 20; i++) await page.mouse.wheel(0, 5_000);
      await dashboard.row("thrown 99999").waitFor({ state: "detached" });
      await page.locator(".list .row").first().waitFor();
      assert.ok(await dashboard.count(".list .row") < FEW_ROWS);
      // By keys alone: find one, look at it, close it.
      await page.keyboard.press("/");
      await page.keyboard.type("thrown 99990");
      await dashboard.hasRows(1);
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Enter");
      await dashboard.sees("thrown 99990", panel);
      await page.keyboard.press("Escape");
      await dashboard.seesNo(panel);
    }
    for (const colorScheme of ["light", "dark"] as const) {
      const viewport = { width: 390, height: 844 };
      await using dashboard = await Dashboard.open(browser, `http://127.0.0.1:${port}`, { viewport, colorScheme });
      const { page } = dashboard;
      await dashboard.sees("Needs attention");
      const widths = () => page.evaluate("[document.documentElement.scrollWidth, innerWidth]");
      const [overview, wide] = await widths() as number[];
      assert.ok(overview <= wide, `the overview is ${overview} wide on a screen of ${wide}`);
      const background = await page.evaluate("getComputedStyle(document.body).backgroundColor") as string;
      const light = Number(/\d+/.exec(background)![0]) > 128;
      assert.equal(light, colorScheme === "light", background);
      await dashboard.go("dead-letters");
      await dashboard.row("thrown 99999").waitFor();
      const [list] = await widths() as number[];
      assert.ok(list <= wide, `the list is ${list} wide on a screen of ${wide}`);
    }
    assert.equal(await server.stop(), 0);
  },
});
