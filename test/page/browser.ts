import { type Browser, chromium, type Page } from "playwright-core";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import path from "node:path";

/** The time that the page may take to show something, on a busy machine. */
export const PATIENCE_MS = 60_000;

/** Opens a browser without a window: the one on the PATH. */
export async function openBrowser(): Promise<Browser> {
  const found = (process.env["PATH"] ?? "")
    .split(path.delimiter)
    .map((folder) => path.join(folder, "chromium"))
    .find((program) => existsSync(program));
  if (found === undefined)
    throw new Error("The tests need chromium on the PATH: node scripts/setup-servers.mjs");
  return await chromium.launch({
    executablePath: found,
    // As root, which containers run tests as, Chromium refuses to start its sandbox.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    timeout: PATIENCE_MS,
  });
}

/** A page, and what went wrong in it. */
export interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  /** Errors of scripts, and violations of the Content-Security-Policy. */
  readonly errors: readonly string[];
  /** The origins of all requests. */
  readonly origins: ReadonlySet<string>;
}

/** Opens the page of a node. If a `folder` is given, the page shows /data instead of it. */
export async function openPage(
  browser: Browser,
  url: string,
  { width = 1280, height = 900, dark = false, folder = "" } = {},
): Promise<OpenPage> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
    timezoneId: "UTC",
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const errors: string[] = [];
  const origins = new Set<string>();
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy|Content-Security-Policy/.test(message.text())) errors.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith("data:")) origins.add(new URL(request.url()).origin);
  });
  if (folder !== "") {
    await page.route(/\/(?:status|api)/, async (route) => {
      if (route.request().url().includes("/watch")) return await route.continue();
      const response = await route.fetch();
      return await route.fulfill({ response, body: (await response.text()).replaceAll(folder, "/data") });
    });
  }
  await page.goto(url, { waitUntil: "domcontentloaded" });
  return { page, errors, origins, [Symbol.asyncDispose]: async () => await context.close() };
}

/** Returns what axe-core finds in a page, each finding with the elements that it concerns. */
export async function accessibilityFindings(page: Page): Promise<string[]> {
  const source = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  // The page's policy permits no scripts but its own, so this one is evaluated by the browser's debugger.
  await page.evaluate(source);
  return await page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
      };
    };
    const { violations } = await axe.run();
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    );
  });
}
