import { type Browser, chromium, type Page } from "playwright-core";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts a Chromium without a window. */
export async function startBrowser(executablePath = "/usr/bin/chromium"): Promise<Browser> {
  return await chromium.launch({ executablePath, headless: true, args: ARGS });
}

export type { Browser, Page };
