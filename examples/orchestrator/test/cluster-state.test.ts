import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { AnyOperation, CairnClient, Position } from "@cairn/client";
import { type CairnNode, startNode } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BUCKETS, ClusterState } from "../src/cluster-state.ts";
import { Controller } from "../src/controller.ts";
import type { Pod } from "../src/resources.ts";
import { documentsOf } from "./support/observed-controller.ts";

let folder = "";
let node: CairnNode;
let client: CairnClient;
let state: ClusterState;
let stop: AbortController;
let acting: Promise<void> | undefined;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-cluster-state-"));
  node = await startNode({ "cairn/node": { id: "n", dir: folder }, "cairn/http-server": null });
  await node.ready;
  [client, state, stop] = [node.client(), new ClusterState(), new AbortController()];
});
afterEach(async () => {
  stop.abort();
  await acting;
  await node.close();
  await rm(folder, { recursive: true });
});

/** Applies what follows a position until the state includes all that the client wrote. Returns the position. */
async function catchUp(from?: Position): Promise<Position | undefined> {
  for await (const states of client.follow({ from })) {
    state.apply(states);
    if ((state.asOf ?? 0) >= client.lastTx) return states.position;
  }
  throw new Error("the node ended the states");
}

/** Starts a controller that has the lease, and returns once it has received a complete state. */
async function startController() {
  await client.put("leases", "controller", { holder: "alpha", term: 1, renewal: 0 });
  const actions: string[] = [];
  const onAction = (sentence: string): void => void actions.push(sentence);
  const controller = new Controller({ client, name: "alpha", leaseMs: 600_000, onAction });
  acting = controller.act(stop.signal);
  for await (const states of client.follow()) {
    controller.see(states);
    if (states.complete) return { actions, seeAgain: () => controller.see(states) };
  }
  throw new Error("the node ended the states");
}

/** Lists the documents of the four buckets. */
async function listed(): Promise<string[]> {
  const all: string[] = [];
  for (const bucket of BUCKETS)
    for await (const { namespace, name, revision, document } of client.list(bucket))
      all.push(`${bucket} ${namespace}/${name} ${revision} ${JSON.stringify(document)}`);
  return all.toSorted();
}

describe("the state of a controller", () => {
  it(
    "is that of the nodes after changes of which they have no history left",
    { tags: "rest/slow" },
    async () => {
      await client.setPolicies({ history: { "*": { keep: 0 } } });
      await client.put("deployments", "web", { image: "nginx", replicas: 1 });
      await client.put("pods", "gone", {});
      const position = await catchUp();
      expect(documentsOf(state)).toEqual(await listed());
      await client.delete("pods", "gone");
      // A node keeps the history of the last 1,000 transactions, and removes older history little by little.
      const writes = Array.from({ length: 3_000 }, (_, replicas) =>
        client.put("deployments", "web", { image: "nginx", replicas }),
      );
      await Promise.all(writes);
      await expect(client.watch({ from: position }).next()).rejects.toMatchObject({
        code: "WATCH_COMPACTED",
      });
      await catchUp(position);
      expect([...state.pods.keys()]).toEqual([]);
      expect(documentsOf(state)).toEqual(await listed());
    },
  );

  it("is replaced after a position that the log does not contain", async () => {
    await client.put("pods", "web-0", {});
    await catchUp();
    state.nodes.set("default/lost", { revision: 7, document: { pods: 1 } });
    await catchUp(`${client.lastTx}-${"0".repeat(12)}`);
    expect(documentsOf(state)).toEqual(await listed());
  });

  it("remains when a shard of a queue is retired", async () => {
    const mails = { shards: 1, cap: 10, terminal: { state: ["done"] }, lease: "PT1H" };
    await client.setPolicies({ queues: { mails } });
    await client.put("pods", "0/web-0", {});
    const position = await catchUp();
    await client.transact<AnyOperation>({ ops: [["claim", "mails", 0, { as: "test" }]] });
    const drain = await client.transact<AnyOperation>({ ops: [["drain", "mails", 0, { as: "test" }]] });
    const retired = await client.transact<AnyOperation>({ ops: [["retire", "mails", 0, drain.txId]] });
    expect(retired).toMatchObject({ committed: true });
    await catchUp(position);
    expect([...state.pods.keys()]).toEqual(["0/web-0"]);
  });

  it("is what it decides on once all documents have arrived", async () => {
    // The documents arrive in several batches, those of pods last. Lower numbers are free.
    const image = "nginx";
    const pod: Pod = { deployment: "default/web", image, node: "n", phase: "Running" };
    const names = Array.from({ length: 3_000 }, (_, n) => `web-${10_000 + n}`);
    await client.load(
      "pods",
      names.map((key) => ({ key, document: pod })),
    );
    await client.put("nodes", "n", { pods: 9_999 });
    await client.put("deployments", "web", { image, replicas: names.length + 1 });
    const { actions } = await startController();
    await expect.poll(() => actions).toEqual(["default/web: put default/web-0"]);
  });

  it("is what it decides on again once its last decision has arrived", async () => {
    await client.put("nodes", "n", { pods: 1 });
    await client.put("deployments", "web", { image: "nginx", replicas: 1 });
    const { actions, seeAgain } = await startController();
    await expect.poll(() => actions).toEqual(["default/web: put default/web-0"]);
    const decided = client.lastTx;
    // This state does not contain the decision, so the same decision would be made again, and refused.
    seeAgain();
    await client.put("marks", "seen", true);
    await client.put("marks", "end", true);
    expect(client.lastTx).toBe(decided + 2);
  });
});
