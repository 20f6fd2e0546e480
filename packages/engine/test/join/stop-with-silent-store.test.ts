// @module-tag nats
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { faultyStore } from "@cairn/checkpoint/testing";
import { describe, expect, it, vi } from "vitest";
import { logWithBackup } from "../../src/backup/log-with-backup.ts";
import { JoinSources } from "../../src/join/join-sources.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put, type SceneOptions } from "@cairn/test-support/nodes/cluster-scene";
import { BackupScene } from "@cairn/test-support/nodes/backup-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";

/** A store that no longer responds once it is silent. */
class SilentStore {
  /** The requests that get no response, of any method, because a look may already have listed the store. */
  readonly awaited: string[] = [];
  isSilent = false;
  readonly store: CheckpointStore;

  constructor(folder: string) {
    const store = faultyStore(filesystemStore({ path: folder }), {
      before: ({ method, name }) => {
        if (!this.isSilent) return Promise.resolve();
        this.awaited.push(`${method} ${name}`);
        return new Promise(() => undefined);
      },
    });
    // Otherwise, the log would not be trimmed on the basis of its checkpoints.
    this.store = Object.assign(store, { shared: true });
  }
}

/** The work that waits for the store. A node that stops waits for some of it for five seconds. */
const WAITING: readonly (readonly [string, NonNullable<SceneOptions["parts"]>, string[]])[] = [
  ["the log backup", { logBackup: { every: 200, keep: "all", codec: "none" } }, ["rest/slow"]],
  ["the trimming of the log", { trim: { keep: 1 } }, ["rest/slow"]],
  ["a search for what contains the purged beginning of its log", {}, []],
];

describe.concurrent.each(WAITING)(
  "a node whose store does not respond while %s waits for it",
  (_, parts, tags) => {
    it("stops within ten seconds", { tags }, async ({ onTestFinished }) => {
      const scene = await ClusterScene.open();
      onTestFinished(() => scene.close());
      const silent = new SilentStore(path.join(scene.folder, "checkpoints"));
      const node = await scene.ready("a", { store: silent.store, stall: { afterMs: 50 }, parts });
      const last = await put(node, 0, 5, "v");
      if (Object.keys(parts).length === 0) {
        await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(last));
        await vi.waitFor(async () => expect((await node.status()).log.warnings).toHaveLength(1));
      }
      silent.isSilent = true;
      await put(node, 5, 6, "v");
      await vi.waitFor(() => expect(silent.awaited).not.toEqual([]));
      const closing = performance.now();
      await scene.stop(node);
      expect(performance.now() - closing).toBeLessThan(10_000);
    });
  },
);

it("a node that waits for another checkpoint can be stopped although the store does not respond", async () => {
  hurryClock();
  const scene = await BackupScene.open();
  const silent = new SilentStore(path.join(scene.folder, "store"));
  silent.isSilent = true;
  const stop = new AbortController();
  const changed = new JoinSources(scene.log, logWithBackup(scene.log, [silent.store])).changed(
    [silent.store],
    stop.signal,
  );
  await vi.waitFor(() => expect(silent.awaited).not.toEqual([]));
  stop.abort();
  await changed;
  await scene.close();
});
