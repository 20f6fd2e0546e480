// Takes the screenshots of docs/page.md: each state of a cluster of three real nodes, in docs/page/.
// Run it with: npx -y pnpm@12 run screenshots
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { type AnyOperation, CairnClient } from "@cairn/client";
import type { Browser, Page } from "playwright-core";
import { ROOT } from "@cairn/test-support/cairn-process";
import { answersOf } from "./answers.ts";
import { openBrowser, openPage } from "./browser.ts";
import { LyingServer, sendJson } from "./lying-server.ts";
import { PageScene } from "./page-scene.ts";

const FOLDER = path.join(ROOT, "docs/page");

async function take(page: Page, name: string): Promise<void> {
  // The values that are computed from successive answers are known after the second one.
  await page.waitForResponse((response) => response.url().includes("/status/cluster"));
  await page.screenshot({ path: path.join(FOLDER, `${name}.png`), fullPage: true });
  console.log(`docs/page/${name}.png`);
}

/** Takes the picture of a query, whose answer is made up, because these nodes have no indexes of their own. */
async function takeQuery(browser: Browser): Promise<void> {
  const rows = [
    ["anna", 14, 3_120.5, "2026-11-20T06:12:26Z"],
    ["ben", 9, 1_790, null],
    ["carla", 2, 268, "2026-11-18T17:40:03Z"],
  ];
  const queried = { txId: 1_200, columns: ["owner", "orders", "total", "last_paid"], rows, more: false };
  await using server = await LyingServer.start((address, response) =>
    sendJson(response, address === "/api/v1/sql/orders" ? queried : answersOf("orders")[address]),
  );
  const sql =
    "select owner, count(*) as orders, sum(total) as total, max(paid_at) as last_paid\nfrom orders group by owner order by total desc";
  const address = `${server.url}/#/sql?${new URLSearchParams({ index: "orders", sql }).toString()}`;
  await using opened = await openPage(browser, address, { width: 1100 });
  await opened.page.getByRole("button", { name: "Run" }).click();
  await opened.page.locator("#sql tbody tr").first().waitFor();
  await opened.page.locator("#sql").screenshot({ path: path.join(FOLDER, "sql.png") });
}

async function main(): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  const browser = await openBrowser();
  await takeQuery(browser);
  await using scene = await PageScene.start();
  try {
    await scene.verifyNewest();
    await scene.checkpoint();
    const url = await scene.node.url();
    const { folder } = scene.cluster;
    const { page } = await openPage(browser, url, { width: 1100, folder });
    const { page: dark } = await openPage(browser, url, { width: 1100, dark: true, folder });
    const { page: small } = await openPage(browser, url, { width: 360, height: 740, folder });
    for (const [shown, name] of [
      [page, "cluster"],
      [dark, "cluster-dark"],
      [small, "cluster-small"],
    ] as const) {
      await shown.locator("#store tbody tr").first().waitFor();
      await shown.locator("#resources").getByText("of one core").waitFor();
      await take(shown, name);
    }
    await dark.close();
    await small.close();

    const documents = await openPage(browser, `${url}/#/browse?bucket=deployments`, {
      width: 1100,
      height: 600,
    });
    await documents.page.locator("tbody tr").first().waitFor();
    await documents.page.screenshot({ path: path.join(FOLDER, "documents.png") });
    await documents.page.getByRole("link", { name: "default/web-1", exact: true }).click();
    await documents.page.locator(".difference").waitFor();
    await documents.page.screenshot({ path: path.join(FOLDER, "document.png") });
    await documents.page.getByRole("link", { name: "Watch" }).click();
    await documents.page.getByText(/up to transaction \d/).waitFor();
    await scene.write(12);
    await documents.page.locator(".changes li").nth(11).waitFor();
    await documents.page.screenshot({ path: path.join(FOLDER, "watch.png") });

    const client = new CairnClient({ urls: url });
    const policy = { shards: 16, cap: 100, terminal: { state: ["delivered"] }, lease: "PT30S" };
    await client.transact({ ops: [["configure", { queues: { deliveries: policy } }]] });
    await client.transact<AnyOperation>({
      ops: [
        ["claim", "deliveries", 0, { as: "deliverer-a" }],
        ["claim", "deliveries", 1, { as: "deliverer-b" }],
      ],
    });
    for (let n = 0; n < 120; n += 1) {
      const state = n % 5 === 0 ? "new" : "delivered";
      await client.enqueue("deliveries", `order-${n}`, { state });
    }
    await documents.page.getByRole("link", { name: "Queues" }).click();
    await documents.page.locator('tr[data-shard="1"]').waitFor();
    await documents.page.locator("#queues").screenshot({ path: path.join(FOLDER, "queues.png") });

    await scene.joinSlowly("d", async () => {
      await page.locator('#nodes tr[data-node="d"] progress').waitFor();
      await page.locator("#nodes").screenshot({ path: path.join(FOLDER, "join.png") });
    });
    const damaged = await scene.damageNewest();
    await page.locator(`#store tr.damaged[data-checkpoint="${damaged}"]`).waitFor();
    await page.locator("#store").screenshot({ path: path.join(FOLDER, "damaged.png") });
    const bringBack = await scene.loseStore();
    await page.locator("#store.old .problem").first().waitFor();
    await page.locator("#store").screenshot({ path: path.join(FOLDER, "store-away.png") });
    await bringBack();
    await scene.cluster.nodes[1]?.kill();
    await page.locator('#nodes tr[data-node="b"][data-state="gone"]').waitFor();
    await page.locator(".verdict.failing, .verdict.attention").waitFor();
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: path.join(FOLDER, "gone.png") });
    const halted = await scene.haltThird();
    const other = await openPage(browser, await halted.url(), { width: 1100, height: 420, folder });
    await other.page.locator(".verdict.failing .hint").waitFor();
    await other.page.locator('#nodes tr[data-state="failed"]').waitFor();
    await other.page.screenshot({ path: path.join(FOLDER, "halted.png") });
  } finally {
    await browser.close();
  }
}

await main();
