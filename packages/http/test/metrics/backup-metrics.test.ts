// @module-tag nats
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { faultyStore, unreachable } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { backedUp, BACKED_UP } from "@cairn/test-support/nodes/recovery-scene";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { valueOf } from "@cairn/test-support/nodes/samples";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

it(
  "the metrics of a log backup are kept while its looks fail, and report the failures starting with the first look",
  { tags: "rest/slow" },
  async () => {
    let isDown = true;
    const folder = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
    const store = faultyStore(folder, {
      // Only looks list the folder of a single log; a joining node lists the folders of all logs.
      fail: ({ name }) => (isDown && /^log-./.test(name) ? unreachable() : undefined),
    });
    const http = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };
    const node = await scene.ready("a", { store, parts: { ...BACKED_UP, http } });
    const read = async (): Promise<(name: string) => number | undefined> => {
      const text = await (await fetch(`${node.url}/metrics`)).text();
      return (name) => valueOf(text, `cairn_log_backup_${name}`);
    };
    const failing = async (): Promise<void> => {
      await vi.waitFor(async () => expect((await read())("failed_looks")).toBeGreaterThan(0), 20_000);
    };
    // The content of the backup is not known yet.
    await failing();
    const first = await read();
    expect([first("period_seconds"), first("exposed_transactions")]).toEqual([0.2, undefined]);
    isDown = false;
    await backedUp(node, await put(node, 0, 5, "value"));
    const whole = await read();
    expect([whole("failed_looks"), whole("exposed_transactions")]).toEqual([0, 0]);
    isDown = true;
    await failing();
    await put(node, 5, 8, "value");
    const later = await read();
    expect([later("exposed_transactions"), later("holes")]).toEqual([3, 0]);
    expect(later("exposed_since_timestamp_seconds")).toBeGreaterThan(0);
  },
);
