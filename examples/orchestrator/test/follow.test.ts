import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient } from "@cairn/client";
import { type CairnNode, startNode } from "@cairn/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ClusterState, follow } from "../src/index.ts";

let folder = "";
let node: CairnNode;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-follow-"));
  node = await startNode({ "cairn/node": { id: "n", dir: folder }, "cairn/http-server": { port: 0 } });
  await node.ready;
});
afterAll(async () => {
  await node.close();
  await rm(folder, { recursive: true });
});

/** A node's response if its history does not go back that far. */
const GONE = {
  error: { code: "WATCH_COMPACTED", message: "It is gone.", hint: null },
  floor: "5-9f86d081884c",
};

describe("follow", () => {
  it("yields every change after the list once", async () => {
    const client = new CairnClient({ urls: node.url ?? "" });
    await client.put("deployments", "web", { image: "nginx", replicas: 1 });
    const state = new ClusterState();
    const revisions: (number | undefined)[] = [];
    const end = new AbortController();
    for await (const followed of follow(client, ["deployments"], end.signal)) {
      state.apply(followed);
      revisions.push(state.deployments.get("default/web")?.revision);
      if (revisions.length === 4) break;
      await client.put("deployments", "web", { image: "nginx", replicas: revisions.length });
    }
    expect(new Set(revisions).size).toBe(4);
    expect(revisions).toEqual(revisions.toSorted((a = 0, b = 0) => a - b));
  });

  it("yields a new snapshot, which replaces the old one, if the history that it would follow was removed", async () => {
    let refusals = 1;
    const client = new CairnClient({
      urls: node.url ?? "",
      fetch: async (input, init) => {
        const isWatch = input.toString().includes("/api/v1/watch");
        if (!isWatch || refusals === 0) return await fetch(input, init);
        refusals -= 1;
        await client.delete("pods", "gone");
        return Response.json(GONE, { status: 410 });
      },
    });
    await client.put("pods", "gone", {});
    const state = new ClusterState();
    const end = new AbortController();
    const kinds: string[] = [];
    for await (const followed of follow(client, ["pods"], end.signal)) {
      state.apply(followed);
      kinds.push(followed.kind);
      if (kinds.length === 1) expect([...state.pods.keys()]).toEqual(["default/gone"]);
      if (kinds.length === 2) await client.put("pods", "next", {});
      if (kinds.length === 3) break;
    }
    expect(kinds).toEqual(["snapshot", "snapshot", "transaction"]);
    expect([...state.pods.keys()]).toEqual(["default/next"]);
  });
});
