// @module-tag nats
// @module-tag rest/browser
import type { ClusterStatus, NodeStatus } from "@cairn/client";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accessibilityFindings, type OpenPage, openBrowser, openPage } from "./browser.ts";
import { PageScene } from "./page-scene.ts";

/** What the page says about the nodes and the whole. */
interface Said {
  readonly verdict: string;
  readonly nodes: readonly string[];
}

/** Reads from the page what it says. */
async function said(page: Page): Promise<Said> {
  return await page.evaluate(() => ({
    verdict: document.querySelector(".verdict .sentence > span")?.textContent ?? "",
    nodes: [...document.querySelectorAll<HTMLElement>("#nodes tr[data-node]:not([data-state=gone])")]
      .map((row) => {
        const [, transaction = "", behind = ""] = [...row.querySelectorAll("td")].map(
          (cell) => cell.textContent,
        );
        return `${row.dataset["node"]} ${row.dataset["state"]} ${transaction} ${behind}`;
      })
      .toSorted(),
  }));
}

function number(value: number | null): string {
  return value?.toLocaleString("en") ?? "unknown";
}

/** Returns what the page has to say about an answer. */
function toSay({ verdict, nodes }: ClusterStatus): Said {
  return {
    verdict: verdict.message,
    nodes: nodes
      .map(
        ({ node, status }) =>
          `${node} ${status.phase} ${number(status.index.txId)} ${number(status.index.lag)}`,
      )
      .toSorted(),
  };
}

describe("the page of three nodes on NATS", () => {
  let browser: Browser;
  let scene: PageScene;
  let opened: OpenPage;
  let page: Page;
  let answered: ClusterStatus | undefined;

  beforeAll(async () => {
    [browser, scene] = await Promise.all([openBrowser(), PageScene.start()]);
    opened = await openPage(browser, await scene.node.url());
    ({ page } = opened);
    page.on("response", (response) => {
      if (response.url().includes("/status/cluster"))
        void response.json().then(
          (body) => (answered = body as ClusterStatus),
          () => undefined,
        );
    });
  });

  afterAll(async () => {
    await opened?.[Symbol.asyncDispose]();
    await browser?.close();
    await scene?.[Symbol.asyncDispose]();
  });

  const row = (node: string, state: string) =>
    page.locator(`#nodes tr[data-node="${node}"][data-state="${state}"]`);

  /** Waits until the page says what the API answered. */
  async function saysTheAnswer(): Promise<void> {
    await expect
      .poll(async () =>
        answered === undefined ? undefined : { page: await said(page), api: toSay(answered) },
      )
      .toSatisfy(
        (both?: { page: Said; api: Said }) =>
          both !== undefined && JSON.stringify(both.page) === JSON.stringify(both.api),
      );
  }

  it("says what the API answered, and what cairn status --cluster prints", async () => {
    for (const node of ["a", "b", "c"]) await row(node, "ready").waitFor();
    await saysTheAnswer();
    await expect.poll(async () => toSay((await scene.printed()) as ClusterStatus)).toEqual(await said(page));
    expect(await accessibilityFindings(page)).toEqual([]);
  });

  it("shows a join with its progress until the node is ready", async () => {
    const bar = page.locator('#nodes tr[data-node="d"] progress');
    const node = await scene.joinSlowly("d", async () => {
      await bar.waitFor();
    });
    await row("d", "ready").waitFor();
    await node.kill();
  });

  it("shows a node that was killed as gone, with the time since which it has been", async () => {
    await scene.cluster.nodes[1]?.kill();
    await row("b", "gone")
      .getByText(/it has not answered for \d/)
      .waitFor();
    await page.locator(".verdict:not(.healthy)").waitFor();
    await saysTheAnswer();
  });

  it("shows that the store is away, keeps what it contained, and shows when it is back", async () => {
    await page.locator("#store tbody tr").first().waitFor();
    const bringBack = await scene.loseStore();
    await page.locator("#store.old .problem").first().waitFor();
    await saysTheAnswer();
    expect(await page.locator("#store tbody tr").count()).toBeGreaterThan(0);
    await bringBack();
    await page.locator("#store:not(.old)").waitFor();
  });

  it("marks a damaged checkpoint in the table", async () => {
    const name = await scene.damageNewest();
    await page.locator(`#store tr.damaged[data-checkpoint="${name}"]`).waitFor();
  });

  it("shows the first transaction after a trim", async () => {
    await scene.checkpoint();
    await scene.trim();
    const first =
      ((await (await fetch(`${await scene.node.url()}/status`)).json()) as NodeStatus).log.firstTxId ?? 0;
    expect(first).toBeGreaterThan(1);
    await page.locator("#log dd").getByText(first.toLocaleString("en"), { exact: true }).first().waitFor();
  });

  it("shows the hint of a halted node first", async () => {
    const halted = await scene.haltThird();
    const url = await halted.url();
    await expect.poll(async () => (await halted.status()).phase).toBe("failed");
    const { failure } = await halted.status();
    await using other = await openPage(browser, url);
    await other.page.locator(".verdict.failing").waitFor();
    await other.page
      .locator(".verdict .hint")
      .getByText(failure?.hint ?? "no hint")
      .waitFor();
    expect(await accessibilityFindings(other.page)).toEqual([]);
    expect([...opened.errors, ...other.errors]).toEqual([]);
  });
});
