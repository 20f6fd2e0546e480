import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient, type ClientOptions } from "@cairn/client";
import { type CairnNode, startNode } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Lease, runController } from "../src/index.ts";

let folder = "";
let node: CairnNode;
let client: CairnClient;
let stop: AbortController;
let controllers: Promise<void>[];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-lease-"));
  node = await startNode({ "cairn/node": { id: "n", dir: folder }, "cairn/http-server": { port: 0 } });
  await node.ready;
  client = new CairnClient({ urls: node.url ?? "" });
  [stop, controllers] = [new AbortController(), []];
});
afterEach(async () => {
  stop.abort();
  await Promise.all(controllers);
  await node.close();
  await rm(folder, { recursive: true });
});

function start(name: string, leaseMs: number, options: Partial<ClientOptions> = {}): void {
  const own = new CairnClient({ urls: node.url ?? "", ...options });
  controllers.push(runController({ client: own, name, leaseMs, signal: stop.signal }));
}

async function lease(): Promise<Lease | undefined> {
  return (await client.get<Lease>("leases", "controller"))?.document;
}

async function podNames(): Promise<string[]> {
  return (await client.page("pods")).documents.map(({ name }) => name);
}

describe("the lease of the controllers", () => {
  it("stays with a holder that renews it", { tags: "rest/slow" }, async () => {
    // The lease is longer than any pause on a busy machine.
    start("alpha", 5_000);
    start("beta", 5_000);
    await expect.poll(lease, { timeout: 30_000 }).toMatchObject({ term: 1 });
    const { holder } = (await lease()) ?? {};
    await expect.poll(async () => (await lease())?.renewal, { timeout: 30_000 }).toBeGreaterThan(2);
    expect(await lease()).toMatchObject({ holder, term: 1 });
  });

  it("stays with a holder that receives malformed documents", async () => {
    await client.put("deployments", "before", null);
    start("alpha", 5_000);
    await expect.poll(lease, { timeout: 30_000 }).toMatchObject({ term: 1 });
    await client.put("pods", "web-7", null);
    await client.put("nodes", "broken", "x");
    await client.put("nodes", "n", { pods: 2 });
    await client.put("deployments", "web", { image: "nginx", replicas: 1 });
    await expect.poll(podNames, { timeout: 30_000 }).toEqual(["web-0", "web-7"]);
  });

  it("keeps a decision that arrives after another controller took the lease from taking effect", async () => {
    let release: (() => void) | undefined;
    const outcomes: unknown[] = [];
    start("alpha", 400, {
      fetch: async (input, init) => {
        const isDecision = typeof init?.body === "string" && init.body.includes('["put","pods"');
        if (!isDecision || outcomes.length > 0) return await fetch(input, init);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        const answer = await fetch(input, init);
        outcomes.push(await answer.clone().json());
        return answer;
      },
    });
    await client.put("nodes", "a", { pods: 5 });
    await client.put("deployments", "web", { image: "nginx", replicas: 2 });
    await expect.poll(() => release, { timeout: 30_000 }).toBeDefined();
    await client.put("leases", "controller", { holder: "other", term: 2, renewal: 0 });
    release?.();
    await expect
      .poll(() => outcomes)
      .toMatchObject([{ committed: false, reason: expect.stringContaining("leases default/controller") }]);
    // The other holder does not act and the deployment is unchanged, so the same decision takes effect later.
    await expect.poll(podNames, { timeout: 30_000 }).toEqual(["web-0", "web-1"]);
    expect(await lease()).toMatchObject({ holder: "alpha", term: 3 });
  });
});
