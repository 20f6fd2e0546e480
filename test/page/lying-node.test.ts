// @module-tag rest/browser
import type { ClusterStatus } from "@cairn/client";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededRandom } from "@cairn/test-support/seeded-random";
import { answersOf } from "./answers.ts";
import { accessibilityFindings, openBrowser, openPage } from "./browser.ts";
import { type Liar, LyingServer, sendJson } from "./lying-server.ts";

const HTML =
  '<img src=x onerror="globalThis.executed = true"><script>globalThis.executed = true</script>\u202e';
const PLACES = [
  "#/cluster",
  "#/browse",
  "#/browse?bucket=pods",
  "#/browse?bucket=pods&name=web",
  "#/queues",
  "#/watch",
  "#/sql?sql=select",
];

/** Returns a liar that tells the truth, except in the given answers. */
function truthful(text: string, lies: Readonly<Record<string, unknown>> = {}): Liar {
  return (address, response) => {
    const answers = { ...answersOf(text), ...lies };
    if (address in answers) sendJson(response, answers[address]);
    else sendJson(response, { error: { code: "NOT_FOUND", message: text, hint: text } }, 404);
  };
}

const frame = (page: Page) => page.getByRole("link", { name: "Browse" });

describe("the page of a node that lies", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(async () => await browser?.close());

  it("shows HTML in names and values as text, in every view", async () => {
    await using server = await LyingServer.start(truthful(HTML));
    for (const place of PLACES) {
      await using opened = await openPage(browser, `${server.url}/${place}`);
      const { page, errors } = opened;
      await page.getByText("<img src=x").first().waitFor();
      if (place.startsWith("#/sql")) await page.getByRole("button", { name: "Run" }).click();
      if (place.startsWith("#/sql")) await page.getByRole("cell", { name: "<img src=x" }).waitFor();
      expect(await page.locator("img, #page script").count()).toBe(0);
      expect(await page.evaluate(() => "executed" in globalThis)).toBe(false);
      expect(errors).toEqual([]);
      if (place === "#/cluster") expect(await accessibilityFindings(page)).toEqual([]);
    }
  });

  it("hides no more than the parts whose answers cannot be understood", async () => {
    await using server = await LyingServer.start(truthful("calm"));
    for (const lie of [null, [], {}, 7, "text", [null], { nodes: 7 }, { nodes: [null], silent: {} }]) {
      server.liar = truthful("calm", {
        "/status/cluster": lie,
        "/api/v1/buckets": lie,
      });
      await using opened = await openPage(browser, server.url);
      const { page, errors } = opened;
      await page.locator("#store tbody tr").first().waitFor();
      await page
        .getByText(/cannot be understood/)
        .first()
        .waitFor();
      await frame(page).click();
      await page.getByRole("heading", { name: "Buckets" }).waitFor();
      expect(errors).toEqual([]);
    }
  });

  it("survives five hundred answers in which any part is replaced by something else", async () => {
    const random = seededRandom(25);
    const JUNK: readonly unknown[] = [
      null,
      0,
      -1,
      1e300,
      "",
      HTML,
      true,
      [],
      {},
      [null],
      { length: -1 },
      { toString: 1 },
    ];
    const damaged = (value: unknown): unknown => {
      if (random() < 0.04) return JUNK[Math.floor(random() * JUNK.length)];
      if (Array.isArray(value)) return value.map(damaged);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, damaged(part)]));
    };
    await using server = await LyingServer.start((address, response) => {
      sendJson(response, damaged(answersOf("calm")[address]));
    });
    await using opened = await openPage(browser, server.url);
    const { page, errors } = opened;
    await page.clock.install();
    await page.reload();
    while (server.requests < 500) await page.clock.runFor(10_000);
    server.liar = truthful("calm");
    await expect
      .poll(async () => {
        await page.clock.runFor(10_000);
        return await page.locator('tr[data-node="calma"]').count();
      })
      .toBe(1);
    await page.getByText("calm needs attention.").first().waitFor();
    expect(errors).toEqual([]);
  });

  it("says the only finding once, in the verdict, with the time since which it holds", async () => {
    const cluster = answersOf("calm")["/status/cluster"] as ClusterStatus;
    const findings = cluster.findings.slice(0, 1);
    await using server = await LyingServer.start(
      truthful("calm", { "/status/cluster": { ...cluster, findings } }),
    );
    await using opened = await openPage(browser, server.url);
    const { page, errors } = opened;
    await page
      .locator(".verdict")
      .getByText(/^since /)
      .waitFor();
    expect(await page.locator("#findings").count()).toBe(0);
    server.liar = truthful("calm");
    await page.locator("#findings li").nth(1).waitFor();
    expect(
      await page
        .locator(".verdict")
        .getByText(/^since /)
        .count(),
    ).toBe(0);
    expect(errors).toEqual([]);
  });

  it("says since when a node does not answer, keeps what it said before, and shows when it is back", async () => {
    await using server = await LyingServer.start(truthful("calm"));
    await using opened = await openPage(browser, server.url);
    const { page, errors } = opened;
    await page.locator('tr[data-node="calma"]').waitFor();
    for (const silence of [
      (_address: string, response: Parameters<Liar>[1]) => response.destroy(),
      (_address: string, response: Parameters<Liar>[1]) =>
        response.writeHead(502).end("<h1>Bad Gateway</h1>"),
    ]) {
      server.liar = silence;
      await page.getByText(/This node has not answered since/).waitFor();
      await page.locator('#nodes.old tr[data-node="calma"]').waitFor();
      await page.locator("#nodes .problem").getByText(/As of/).waitFor();
      server.liar = truthful("calm");
      await page.getByText("calm needs attention.").first().waitFor();
      await page.locator("#nodes:not(.old)").waitFor();
    }
    expect(errors).toEqual([]);
  });

  it("moves the bar of a join with each answer", async () => {
    const truth = answersOf("calm")["/status/cluster"] as ClusterStatus;
    let done = 0;
    await using server = await LyingServer.start((address, response) => {
      done += address === "/status/cluster" ? 100 : 0;
      const progress = { unit: "bytes", done, total: 100_000, etaMs: 900 } as const;
      const nodes = truth.nodes.map((node) => ({ ...node, status: { ...node.status, progress } }));
      truthful("calm", { "/status/cluster": { ...truth, nodes } })(address, response);
    });
    await using opened = await openPage(browser, server.url);
    const bar = opened.page.locator('tr[data-node="calmb"] progress');
    const before = Number(await bar.getAttribute("value"));
    await expect.poll(async () => Number(await bar.getAttribute("value"))).toBeGreaterThan(before);
  });

  it("shows from which checkpoint a joining node serves stale reads", async () => {
    await using server = await LyingServer.start(truthful("calm"));
    await using opened = await openPage(browser, server.url);
    await opened.page
      .locator('tr[data-node="calmb"]')
      .getByText("serves stale reads as of transaction 1,000, 12 min ago, from calm-1000")
      .waitFor();
  });

  it("shows how far an index of one's own is", async () => {
    await using server = await LyingServer.start(truthful("calm"));
    await using opened = await openPage(browser, server.url);
    await opened.page
      .locator("#resources")
      .getByText("calm 3: building, 350,000 documents so far; version 2 answers meanwhile")
      .waitFor();
  });

  it("asks nothing while its tab is hidden", async () => {
    await using server = await LyingServer.start(truthful("calm"));
    await using opened = await openPage(browser, server.url);
    const { page } = opened;
    await page.clock.install();
    await page.reload();
    await page.locator('tr[data-node="calma"]').waitFor();
    const setHidden = async (hidden: boolean): Promise<void> =>
      await page.evaluate((isHidden) => {
        Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await setHidden(true);
    const before = server.requests;
    await page.clock.runFor(600_000);
    expect(server.requests).toBe(before);
    await setHidden(false);
    await expect.poll(() => server.requests).toBeGreaterThan(before);
  });
});
