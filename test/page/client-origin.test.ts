// @module-tag rest/browser
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { NodeProcess, ROOT } from "@cairn/test-support/cairn-process";
import { openBrowser, openPage } from "./browser.ts";

const CLIENT = path.join(ROOT, "packages/client/dist/bundle");

const PAGE = `<script type="module">
  import { CairnClient } from "/client/index.js";
  globalThis.CairnClient = CairnClient;
</script>`;

interface Outcome {
  readonly value?: unknown;
  readonly code?: string;
  readonly status?: number;
  readonly message?: string;
  readonly hint?: string;
}

describe("the client in a page of another origin", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(async () => await browser?.close());

  it("is told at once which origin to permit, and works once it is permitted", async () => {
    const [site, dir] = [await siteWithClient(), await mkdtemp(path.join(tmpdir(), "cairn-origin-"))];
    onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
    await using opened = await openPage(browser, site);
    const node = await startNode(dir);
    const refused = await read(opened, [await node.url()]);
    expect(refused).toMatchObject({
      code: "FORBIDDEN",
      status: 0,
      message: new RegExp(`does not permit pages of ${site} `),
    });
    const [, origin = ""] =
      /^Add "(.+)" to cors-origins in cairn\/http-server /.exec(refused.hint ?? "") ?? [];
    await node.kill();
    const permitting = await startNode(dir, origin);
    const url = await permitting.url();
    expect(await read(opened, [url])).toEqual({ value: null });
    // Another node may permit the page, and an address without a node is not one that hides its responses.
    expect(await read(opened, [await unusedAddress(), url])).toEqual({ value: null });
    const other = await startNode(`${dir}/other`);
    expect(await read(opened, [await other.url(), url])).toEqual({ value: null });
    expect(await read(opened, [await unusedAddress()], 100)).toMatchObject({ code: "UNREACHABLE" });
  });

  it("retries while a proxy hides why the node, which has responded before, does not", async () => {
    let refusals = 0;
    const site = await siteWithClient();
    const proxy = await serve(({ url, headers, method }, response) => {
      response.setHeader("cairn-tx", "1");
      response.setHeader("x-request-id", "1");
      response.setHeader("access-control-expose-headers", "x-request-id");
      if (url?.includes("first") === true && method === "GET") refusals = 5;
      else if (refusals > 0) refusals -= 1;
      const isAway = url?.includes("first") !== true && refusals > 0;
      if (isAway) return void response.writeHead(502).end("Bad Gateway");
      response.setHeader("access-control-allow-origin", headers.origin ?? "*");
      response.setHeader("content-type", "application/json");
      response.end(method === "OPTIONS" ? "" : "1");
    });
    await using opened = await openPage(browser, site);
    expect(await read(opened, [proxy], 600_000, ["first", "second"])).toEqual({ value: 1 });
    expect(refusals).toBe(0);
  });
});

/** Reads keys with one client in the page, and returns the last document, or the error. */
async function read(
  { page }: Awaited<ReturnType<typeof openPage>>,
  urls: readonly string[],
  // Longer than the test may take: what is retried fails the test.
  retryForMs = 600_000,
  keys: readonly string[] = ["a"],
): Promise<Outcome> {
  const asked = { urls, retryForMs, keys };
  return await page.evaluate(async ({ urls: to, retryForMs: ms, keys: names }) => {
    const { CairnClient } = globalThis as unknown as typeof import("@cairn/client");
    const client = new CairnClient({ urls: to, retryForMs: ms });
    try {
      let value: unknown;
      for (const key of names) value = (await client.get("pods", key))?.document ?? null;
      return { value };
    } catch (error) {
      const { code, status, message, hint } = error as Required<Outcome>;
      return { code, status, message, hint };
    }
  }, asked);
}

async function startNode(dir: string, origin?: string): Promise<NodeProcess> {
  const server = { "cairn/http-server": { "cors-origins": [origin] } };
  const args = origin === undefined ? [] : ["-j", JSON.stringify(server)];
  const node = NodeProcess.start({ id: "node-1", dir, args });
  onTestFinished(async () => await node.kill());
  await node.ready();
  return node;
}

/** Serves an empty page, and the client for it. */
async function siteWithClient(): Promise<string> {
  return await serve((request, response) => {
    const [, file] = /^\/client\/([\w.-]+\.js)$/.exec(request.url ?? "") ?? [];
    if (file === undefined) return void response.setHeader("content-type", "text/html").end(PAGE);
    response.setHeader("content-type", "text/javascript");
    readFile(path.join(CLIENT, file)).then(
      (content) => response.end(content),
      () => response.destroy(),
    );
  });
}

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function unusedAddress(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}`;
}
