// @module-tag nats
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { PeerChannel } from "../../src/log/peer-channel.ts";
import { type TxLog, wrapLog } from "../../src/log/tx-log.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { statusOf } from "./responded.ts";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(async () => {
  await scene.close();
});

const OTHER_VERSION = 99;

/** Starts a node that responds like a node of another index version: with that version and its own digest. */
async function nodeOfOtherVersion(id: string, digest: string): Promise<CairnNode> {
  const parts = {
    openTxLog: async () => answeringAs(await openNatsTxLog({ servers: [scene.nats.url] }), digest),
  };
  return await scene.ready(id, { parts });
}

function answeringAs(log: TxLog, digest: string): TxLog {
  return log.peers === undefined ? log : wrapLog(log, { peers: rewriting(log.peers, digest) });
}

function rewriting(channel: PeerChannel, digest: string): PeerChannel {
  return {
    address: channel.address,
    ask: (...asked) => channel.ask(...asked),
    serve: (answer, onRefused) =>
      channel.serve((question, send) => {
        answer(question, (bytes) => {
          const told = JSON.parse(Buffer.from(bytes).toString()) as {
            status?: { index: { version: number } };
            digest?: { digest: string };
          };
          if (told.status !== undefined) told.status.index.version = OTHER_VERSION;
          if (told.digest !== undefined) told.digest.digest = digest;
          send(Buffer.from(JSON.stringify(told)));
        });
      }, onRefused),
  };
}

const DIGEST = `sha256:${"1".repeat(64)}`;

async function upToDate(nodes: readonly CairnNode[], txId: number): Promise<void> {
  await Promise.all(nodes.map((node) => node.await(txId)));
}

describe("cairn status --cluster --digest over nodes of two index versions", () => {
  it("compares nodes of one version only, and reports that the other nodes have a different version", async () => {
    const a = await scene.ready("a");
    const b = await scene.ready("b");
    const c = await nodeOfOtherVersion("c", DIGEST);
    await upToDate([a, b, c], await put(a, 0, 5, "right"));
    const { code, stdout, stderr } = await statusOf(scene, 3, "--digest");
    expect([code, stderr.includes("INDEX_CORRUPT")]).toEqual([0, false]);
    expect(stdout).toMatch(/on 2 nodes of index version \d: sha256:/);
    expect(stdout).toMatch(/^c .* 111111111111$/m);
    expect(stdout).toMatch(/on 1 node of index version 99: sha256:1111/);
    expect(c.phase).toBe("ready");
  });

  it("still reports differences among nodes of the other version", async () => {
    const a = await scene.ready("a");
    const c = await nodeOfOtherVersion("c", DIGEST);
    const d = await nodeOfOtherVersion("d", `sha256:${"2".repeat(64)}`);
    await upToDate([a, c, d], await put(a, 0, 5, "right"));
    const { code, stdout, stderr } = await statusOf(scene, 3, "--digest");
    expect(code).toBe(1);
    expect(stdout).toMatch(/^Different digests at transaction \d+ on 2 nodes of index version 99\.$/m);
    expect(stderr).toContain("INDEX_CORRUPT: The nodes differ, and it is unknown");
  });
});
