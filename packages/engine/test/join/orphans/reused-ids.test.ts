// @module-tag nats
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import type { CairnNode } from "../../../src/node/node.ts";

const HTTP = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };

async function order(node: CairnNode, name: string, id: string): Promise<void> {
  const { txId } = await node.submit({ ops: [["put", "orders", `default/${name}`, name]], id });
  await node.await(txId);
}

it(
  "lost transactions are counted, printed and loaded although the log has given their ids to others",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const a = await scene.ready("a");
    await put(a, 0, 3, "kept");
    await scene.stop(a);
    await scene.copyLog();
    for (const [first, second] of [
      ["anna", "peter"],
      ["berta", "paul"],
    ] as const) {
      const node = await scene.ready("a");
      await order(node, first, "order-1");
      await order(node, second, "order-2");
      await scene.stop(node);
      await scene.rollBackLog();
    }
    const last = await scene.ready("a", { parts: { http: HTTP }, stall: { afterMs: 50 } });
    await order(last, "ben", "order-1");
    const counted = async (count: number): Promise<void> =>
      await vi.waitFor(async () => expect((await last.status()).join.orphans).toBe(count), {
        timeout: 10_000,
      });
    await counted(4);

    const env = { NATS_URL: scene.nats.url, CAIRN_NODE_ID: "a", CAIRN_INDEX_PATH: scene.dbDir("a") };
    const terminal = () => new CapturedTerminal({ cwd: scene.folder, env });
    const { code, stdout, stderr } = await cairn(["log", "orphans"], terminal());
    expect(code).toBe(0);
    expect(stdout.match(/"(anna|berta|peter|paul)"/g)).toHaveLength(4);
    expect(stdout.match(/"id":"order-\d"/g)).toEqual(['"id":"order-2"']);
    expect(stderr).toContain(
      'transaction 5: its id "order-1" now belongs to other content, so it has another id.',
    );
    await writeFile(path.join(scene.folder, "orphans.ndjson"), stdout);
    const loaded = await cairn(["load", "orphans.ndjson", "--await", "--url", last.url ?? ""], terminal());
    expect(loaded).toMatchObject({ code: 0, stderr: "" });
    for (const name of ["anna", "peter", "berta", "paul", "ben"])
      expect(await last.get({ bucket: "orders", namespace: "default", name })).toBeDefined();
    await counted(0);
    expect(await cairn(["log", "orphans"], terminal())).toMatchObject({ code: 0, stdout: "" });
  },
);
