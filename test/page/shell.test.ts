// @module-tag rest/browser
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { accessibilityFindings, openBrowser, openPage } from "./browser.ts";

describe("the page of a single node", () => {
  let browser: Browser;
  let dir: string;
  let node: NodeProcess;
  let url: string;

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

  it("shows the node, and sends no request to another host", async () => {
    await using opened = await openPage(browser, url);
    const { page, errors, origins } = opened;
    await page.locator('tr[data-node="alone"][data-state="ready"]').waitFor();
    await page.locator(".verdict.healthy").waitFor();
    expect(await page.title()).toBe("Cluster – Cairn");
    expect([...origins]).toEqual([new URL(url).origin]);
    expect(errors).toEqual([]);
  });

  it("is smaller than 150 kB, and its files may be cached forever", async () => {
    const document = await (await fetch(url)).text();
    const files = [...document.matchAll(/(?:src|href)="(page\/[^"]+)"/g)].map(([, file = ""]) => file);
    let bytes = Buffer.byteLength(document);
    for (const file of files) {
      const answer = await fetch(`${url}/${file}`);
      bytes += Buffer.byteLength(await answer.text());
      expect(answer.headers.get("cache-control")).toContain("immutable");
    }
    expect(files).toHaveLength(2);
    expect(bytes).toBeLessThan(150_000);
  });

  it("has a policy that permits no inline script, and keeps the errors of the API in JSON", async () => {
    const answer = await fetch(url);
    expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'; script-src 'self'");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await answer.text()).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\son[a-z]+=/);
    for (const address of ["/page/none.js", "/nothing"]) {
      const missing = await fetch(url + address);
      expect([missing.status, ((await missing.json()) as { error: { code: string } }).error.code]).toEqual([
        404,
        "NOT_FOUND",
      ]);
    }
  });

  it.each(["#/cluster", "#/browse", "#/watch"])("gives axe-core nothing to find in %s", async (place) => {
    for (const dark of [false, true]) {
      await using opened = await openPage(browser, `${url}/${place}`, { dark });
      await opened.page.locator("h2").first().waitFor();
      expect(await accessibilityFindings(opened.page)).toEqual([]);
    }
  });

  it("fits a screen with a width of 360 pixels", async () => {
    await using opened = await openPage(browser, url, { width: 360, height: 740 });
    await opened.page.locator('tr[data-node="alone"]').waitFor();
    expect(await opened.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  });
});

describe("the page of a node that requires a token", () => {
  it("contains no data, asks for the token, and keeps it for the tab alone", async () => {
    const dir = await mkdtemp(path.join(tmpdir(), "cairn-page-"));
    const node = NodeProcess.start({
      id: "guarded",
      dir,
      env: { CAIRN_HTTP_AUTH_TOKEN: "a-token-of-the-test" },
    });
    const browser = await openBrowser();
    try {
      const url = await node.url();
      await node.ready();
      const shell = await (await fetch(url)).text();
      expect(shell).not.toContain("guarded");
      await using opened = await openPage(browser, url);
      const { page } = opened;
      await page.getByLabel("Token").fill("wrong");
      await page.getByLabel("Token").press("Enter");
      await page.getByText("The token is not valid for this node.").waitFor();
      await page.getByLabel("Token").fill("a-token-of-the-test");
      await page.getByLabel("Token").press("Enter");
      await page.locator('tr[data-node="guarded"]').waitFor();
      await page.reload();
      await page.locator('tr[data-node="guarded"]').waitFor();
      const other = await page.context().newPage();
      await other.goto(url);
      await other.getByText("This node requires a token").waitFor();
    } finally {
      await browser.close();
      await node.kill();
      await rm(dir, { recursive: true, force: true });
    }
  });

  it("is not served if it is switched off", async () => {
    const dir = await mkdtemp(path.join(tmpdir(), "cairn-page-"));
    const node = NodeProcess.start({ id: "off", dir, args: ["-j", '{"cairn/http-server":{"page":false}}'] });
    try {
      expect((await fetch(await node.url())).status).toBe(404);
    } finally {
      await node.kill();
      await rm(dir, { recursive: true, force: true });
    }
  });
});
