import assert from "node:assert/strict";
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";
import { until } from "./server.ts";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** How long something may take to appear, in milliseconds. */
const PATIENCE = 6_000;

/** What browsers say while a server is gone, and when it refuses something: that is shown, and tests look at it. */
const GONE =
  /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|the server responded with a status of/;

/** Starts a Chromium without a window. */
export async function startBrowser(executablePath: string): Promise<Browser> {
  return await chromium.launch({ executablePath, headless: true, args: ARGS });
}

/** The dashboard in a browser, as somebody sees it who clicks and types. */
export class Dashboard implements AsyncDisposable {
  readonly page: Page;
  readonly url: string;
  /** What the browser complained of: errors of scripts, and what the policy refused. */
  readonly complaints: string[] = [];

  private constructor(page: Page, url: string) {
    this.page = page;
    this.url = url;
    page.setDefaultTimeout(PATIENCE);
    page.on("pageerror", (error) => this.complaints.push(String(error.stack ?? error)));
    page.on("console", (message) => {
      if (message.type() === "error" && !GONE.test(message.text())) this.complaints.push(message.text());
    });
  }

  /** Opens it, in a profile of its own. */
  static async open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Dashboard> {
    const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, locale: "en-US", ...options });
    const dashboard = new Dashboard(await context.newPage(), url);
    await dashboard.page.goto(url);
    return dashboard;
  }

  /** Goes to a view by its address. */
  async go(place: string): Promise<void> {
    await this.page.goto(`${this.url}/#/${place}`);
  }

  /** Rows of the list that is shown that have a text. */
  row(text: string | RegExp): Locator {
    return this.page.locator(".list .row").filter({ hasText: text });
  }

  /** What is open beside the list. */
  get panel(): Locator {
    return this.page.locator(".panel");
  }

  /** What is asked before something is done. */
  get question(): Locator {
    return this.page.locator("dialog[open]");
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name });
  }

  /** Waits until something says so. */
  async sees(text: string | RegExp, within: Locator | Page = this.page): Promise<void> {
    await within.getByText(text).first().waitFor();
  }

  /** Waits until nothing says so any more. */
  async seesNo(locator: Locator): Promise<void> {
    await locator.first().waitFor({ state: "detached" });
  }

  /** Waits for the result of an action. */
  async told(text: string | RegExp): Promise<void> {
    await this.page.locator(".notice").filter({ hasText: text }).first().waitFor();
  }

  /** The number of elements in the page. */
  count(selector: string): Promise<number> {
    return this.page.locator(selector).count();
  }

  /** Waits until the list has so many rows, which are few enough to be all in the page. */
  async hasRows(n: number): Promise<void> {
    let found = -1;
    await until(async () => (found = await this.count(".list .row")) === n, () => `${n} rows; there are ${found}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close();
    assert.deepEqual(this.complaints, []);
  }
}
