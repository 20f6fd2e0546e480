// @module-tag rest/browser
import { text } from "node:stream/consumers";
import type { NodeStatus } from "@cairn/client";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answersOf } from "./answers.ts";
import { accessibilityFindings, openBrowser, openPage } from "./browser.ts";
import { type Liar, LyingServer, sendJson } from "./lying-server.ts";

const ROWS = {
  txId: 1_200,
  columns: ["owner", "total", "total", "document"],
  rows: [
    ["anna", 350, null, '{"a":\n 1}'],
    ["null", 1.5, "", "long ".repeat(200)],
  ],
  more: false,
};
const PLAN = {
  txId: 1_200,
  columns: ["id", "parent", "notused", "detail"],
  rows: [
    [1, 0, 0, "COMPOUND QUERY"],
    [2, 1, 0, "LEFT-MOST SUBQUERY"],
    [5, 2, 216, "SCAN orders"],
    [21, 1, 0, "UNION ALL"],
  ],
  more: false,
};

interface Query {
  readonly index: string;
  readonly body: unknown;
}

/** A node whose indexes have the given names, and the queries that it was sent. */
async function startNode(
  names: readonly string[],
  answer: (...parts: Parameters<Liar>) => void = (_address, response) => sendJson(response, ROWS),
) {
  const answers = answersOf("calm");
  const status = answers["/status"] as NodeStatus;
  const ownIndexes = names.map((name) => ({ ...status.ownIndexes[0], name }));
  const queries: Query[] = [];
  const asked = async (index: string, ...[address, response]: Parameters<Liar>): Promise<void> => {
    queries.push({ index, body: JSON.parse(await text(response.req)) });
    answer(address, response);
  };
  const server = await LyingServer.start((address, response) => {
    const [, index] = /^\/api\/v1\/sql\/(.*)$/.exec(address) ?? [];
    if (index === undefined)
      return sendJson(response, address === "/status" ? { ...status, ownIndexes } : answers[address]);
    void asked(index, address, response);
  });
  return { url: server.url, queries, [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose]() };
}

const statement = (page: Page) => page.getByLabel("Statement");
const cells = async (page: Page) => await page.locator("#sql td").allTextContents();

describe("the view of own indexes", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(async () => await browser?.close());

  it("is offered only by a node that has some", async () => {
    await using without = await startNode([]);
    await using one = await openPage(browser, `${without.url}/#/sql`);
    await one.page.getByText("This node has no indexes of its own").waitFor();
    expect(await one.page.getByRole("link", { name: "SQL" }).count()).toBe(0);
    await using node = await startNode(["orders"]);
    await using other = await openPage(browser, node.url);
    await other.page.getByRole("link", { name: "SQL" }).click();
    await statement(other.page).waitFor();
  });

  it("sends the statement of a shared address only once it is run, and shows rows, nulls and the transaction", async () => {
    await using node = await startNode(["orders"]);
    await using opened = await openPage(browser, `${node.url}/#/sql?sql=select+1`);
    const { page, errors } = opened;
    await statement(page).waitFor();
    expect(await statement(page).inputValue()).toBe("select 1");
    await statement(page).fill("select *\nfrom orders");
    expect(node.queries).toEqual([]);
    await statement(page).press("Control+Enter");
    await page.getByText("2 rows as of transaction 1,200.", { exact: true }).waitFor();
    expect(node.queries).toEqual([{ index: "orders", body: { sql: "select *\nfrom orders", limit: 500 } }]);
    expect(await page.locator("#sql thead th").allTextContents()).toEqual(ROWS.columns);
    expect(await cells(page)).toEqual(ROWS.rows.flat().map(String));
    // A null differs from the text that reads the same.
    expect(await page.locator("#sql td.quiet").allTextContents()).toEqual(["null"]);
    await page.goBack();
    await expect.poll(() => statement(page).inputValue()).toBe("select 1");
    expect(await page.locator("#sql table").count()).toBe(0);
    await page.goForward();
    await page.locator("#sql table").waitFor();
    await page.reload();
    await statement(page).waitFor();
    expect(await statement(page).inputValue()).toBe("select *\nfrom orders");
    expect(node.queries).toHaveLength(1);
    expect(errors).toEqual([]);
  });

  it("queries the selected index, and says if there are more rows", async () => {
    await using node = await startNode(["orders", "near"], (_address, response) =>
      sendJson(response, { ...ROWS, more: true }),
    );
    await using opened = await openPage(browser, `${node.url}/#/sql`);
    const { page } = opened;
    await page.getByLabel("Index").selectOption("near");
    await statement(page).fill("near 1,2");
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByText("There are more, which are not shown.").waitFor();
    expect(node.queries.map(({ index }) => index)).toEqual(["near"]);
    await page.reload();
    await expect.poll(() => page.getByLabel("Index").inputValue()).toBe("near");
  });

  it("shows the plan of a statement as steps within steps", async () => {
    await using node = await startNode(["orders"], (_address, response) => sendJson(response, PLAN));
    await using opened = await openPage(browser, `${node.url}/#/sql?sql=select+1`);
    const { page } = opened;
    await page.getByRole("button", { name: "Plan" }).click();
    await page.getByText("SCAN orders").waitFor();
    expect(node.queries[0]?.body).toEqual({ sql: "explain query plan select 1", limit: 500 });
    expect(await cells(page)).toEqual([
      "COMPOUND QUERY",
      "    LEFT-MOST SUBQUERY",
      "        SCAN orders",
      "    UNION ALL",
    ]);
    expect(await statement(page).inputValue()).toBe("select 1");
  });

  it("shows why a query failed and what to do, and a response that cannot be understood as such", async () => {
    const answers: readonly Parameters<typeof sendJson>[1][] = [
      { error: { code: "QUERY_LIMIT", message: "It ran for too long.", hint: "Make it cheaper." } },
      { columns: 7, rows: [null] },
    ];
    await using node = await startNode(["orders"], (_address, response) =>
      sendJson(response, answers[node.queries.length - 1], node.queries.length === 1 ? 422 : 200),
    );
    await using opened = await openPage(browser, `${node.url}/#/sql?sql=select+1`);
    const { page, errors } = opened;
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByRole("status").getByText("It ran for too long. Make it cheaper.").waitFor();
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByText("The node's answer cannot be understood").waitFor();
    expect(await statement(page).inputValue()).toBe("select 1");
    expect(errors).toEqual([]);
  });

  it("ends the request of a query that is cancelled, or whose view is left", async () => {
    let gone = 0;
    await using node = await startNode(["orders"], (_address, response) => {
      response.on("close", () => (gone += 1));
    });
    await using opened = await openPage(browser, `${node.url}/#/sql?sql=select+1`);
    const { page, errors } = opened;
    await page.getByRole("button", { name: "Run" }).click();
    await expect.poll(() => node.queries.length).toBe(1);
    await page.getByRole("button", { name: "Cancel" }).press("Enter");
    await page.getByText("The query was cancelled.").waitFor();
    await expect.poll(() => gone).toBe(1);
    expect(await statement(page).evaluate((field) => field === document.activeElement)).toBe(true);
    await page.getByRole("button", { name: "Run" }).click();
    await expect.poll(() => node.queries.length).toBe(2);
    await page.getByRole("link", { name: "Browse" }).click();
    await expect.poll(() => gone).toBe(2);
    expect(errors).toEqual([]);
  });

  it("gives axe-core nothing to find, and fits a screen with a width of 360 pixels", async () => {
    await using node = await startNode(["orders", "near"]);
    for (const dark of [false, true]) {
      await using opened = await openPage(browser, `${node.url}/#/sql?sql=select+1`, {
        dark,
        width: dark ? 1280 : 360,
      });
      const { page } = opened;
      await page.getByRole("button", { name: "Run" }).click();
      await page.locator("#sql tbody tr").first().waitFor();
      expect(await accessibilityFindings(page)).toEqual([]);
      expect(
        await page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
      ).toBeLessThanOrEqual(0);
    }
  });
});
