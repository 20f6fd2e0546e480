// @module-tag rest/browser
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { accessibilityFindings, openBrowser, openPage } from "./browser.ts";

async function keysOn(page: Page): Promise<string[]> {
  await page.locator("#documents tbody tr").first().waitFor();
  return await page.locator("#documents tbody th").allInnerTexts();
}

describe("the views of documents and changes", () => {
  let browser: Browser;
  let dir: string;
  let node: NodeProcess;
  let url: string;

  async function submit(...ops: readonly (readonly unknown[])[]): Promise<number> {
    const answer = await fetch(`${url}/api/v1/tx?await=true`, {
      method: "POST",
      body: JSON.stringify({ ops }),
    });
    return ((await answer.json()) as { txId: number }).txId;
  }

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "cairn-page-"));
    node = NodeProcess.start({ id: "alone", dir });
    browser = await openBrowser();
    await node.ready();
    url = await node.url();
  });

  afterAll(async () => {
    await browser?.close();
    await node?.kill();
    await rm(dir, { recursive: true, force: true });
  });

  it("go through a bucket page by page, each document once, and back to the first page", async () => {
    const names = Array.from({ length: 120 }, (_, at) => `default/p-${String(at).padStart(3, "0")}`);
    await submit(...names.map((name) => ["put", "pages", name, { name }]));
    await using opened = await openPage(browser, `${url}/#/browse?bucket=pages`);
    const { page } = opened;
    const seen = await keysOn(page);
    for (const first of [names[50] ?? "", names[100] ?? ""]) {
      await page.getByRole("link", { name: "Next page" }).click();
      await page.getByRole("link", { name: first, exact: true }).waitFor();
      seen.push(...(await keysOn(page)));
    }
    expect(seen).toEqual(names);
    expect(await page.getByRole("link", { name: "Next page" }).count()).toBe(0);
    await page.getByRole("link", { name: "First page" }).click();
    await page.getByRole("link", { name: names[0] ?? "", exact: true }).waitFor();
    await page.goBack();
    await page.getByRole("link", { name: names[100] ?? "", exact: true }).waitFor();
    expect(opened.errors).toEqual([]);
  });

  it("show what each revision of a document changed, follow changes, and go back in time", async () => {
    const first = await submit(["put", "pods", "default/web", { image: "one", replicas: 1 }]);
    const second = await submit(["put", "pods", "default/web", { image: "two", replicas: 1 }]);
    await using opened = await openPage(browser, `${url}/#/browse?bucket=pods&namespace=default&name=web`);
    const { page } = opened;
    const difference = page.locator(".difference");
    await difference.waitFor();
    expect(await difference.locator(".removed").allInnerTexts()).toEqual([expect.stringContaining('"one"')]);
    expect(await difference.locator(".added").allInnerTexts()).toEqual([expect.stringContaining('"two"')]);

    const third = await submit(["delete", "pods", "default/web"]);
    await page.getByText("The document was deleted.").waitFor();
    expect(await page.locator(".revisions a").allInnerTexts()).toEqual(
      [`${third} deleted`, `${second}`, `${first}`].map((text) => expect.stringContaining(text) as string),
    );

    await page.goto(`${url}/#/browse?bucket=pods&namespace=default&name=web&as-of=${first}`);
    await page.getByText(`Revision ${first}`).waitFor();
    expect(await difference.innerText()).toContain('"one"');
    expect(await page.locator(".revisions li").count()).toBe(1);
    expect(opened.errors).toEqual([]);
  });

  it("show the shards of each queue, and who holds them, as they change", async () => {
    await using opened = await openPage(browser, `${url}/#/queues`);
    const { page } = opened;
    await page.getByText("There are no queues.").waitFor();
    const policy = { shards: 4, cap: 10, terminal: { state: ["done"] }, lease: "PT30S" };
    await submit(["configure", { queues: { tasks: policy } }]);
    const epoch = await submit(
      ["enqueue", "tasks", "a", { state: "new" }],
      ["claim", "tasks", 0, { as: "me" }],
    );
    const row = page.locator('[data-queue="tasks"] tr[data-shard="0"]');
    await row.waitFor();
    expect((await row.locator("td").allInnerTexts()).map((text) => text.trim()).slice(0, 5)).toEqual([
      "active",
      "1",
      "1",
      String(epoch),
      "me",
    ]);
    await submit(["put", "tasks", "0/a", { state: "done" }, { epoch }]);
    await submit(["release", "tasks", 0, epoch]);
    await row.getByText("unclaimed").waitFor();
    await page.getByText("0 open of 1 entries, in 1 shard; 3 spare.").waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
    expect(opened.errors).toEqual([]);
  });

  it("show changes as they are made, only those asked for, and miss none during a pause", async () => {
    await using opened = await openPage(browser, `${url}/#/watch?bucket=jobs`);
    const { page } = opened;
    await page.getByText(/up to transaction \d/).waitFor();
    const changes = page.locator(".changes li");
    await submit(["put", "jobs", "default/a", 1], ["put", "other", "default/a", 1]);
    await changes.first().waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await submit(["put", "jobs", "default/b", 2]);
    await submit(["delete", "jobs", "default/a"]);
    await page.getByRole("button", { name: "Continue" }).click();
    await changes.nth(2).waitFor();
    expect(await changes.locator("a").allInnerTexts()).toEqual([
      "jobs default/a",
      "jobs default/b",
      "jobs default/a",
    ]);
    expect(await changes.locator("strong").allInnerTexts()).toEqual(["delete", "put", "put"]);
    expect(opened.errors).toEqual([]);
  });
});
