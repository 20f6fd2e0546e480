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

/** A store that responds only to so many requests. */
class SilentStore {
  /** The requests that get no response, of any method, because a look may already have listed the store. */
  readonly awaited: string[] = [];
  answers = Infinity;
  readonly store: CheckpointStore;

  constructor(folder: string) {
    const store = faultyStore(filesystemStore({ path: folder }), {
      before: ({ method, name }) => {
        this.answers -= 1;
        if (this.answers >= 0) return Promise.resolve();
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
      silent.answers = 0;
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
  silent.answers = 0;
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

/** What a node finds that joins without an index, and the reads of the store that only this makes. */
const JOINS: readonly (readonly [
  string,
  (scene: ClusterScene, last: number) => Promise<unknown>,
  string[],
])[] = [
  [
    "whose log does not exist",
    async (scene) => await scene.loseLog(),
    [expect.stringMatching(/^list log-$/), expect.stringMatching(/^open log-.*segment$/)],
  ],
  [
    "whose log lacks its beginning",
    async ({ nats }, last) => await NatsOperator.at(nats.url, async (one) => await one.purgeBefore(last)),
    [expect.stringMatching(/^list log-.+\/$/), expect.stringMatching(/^open checkpoint-/)],
  ],
];

it.for(JOINS)(
  "a joining node %s stops at once, whichever request the store does not answer",
  { tags: "rest/slow" },
  async ([, change, reads], { onTestFinished }) => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const logBackup = { every: 50, keep: "all", codec: "none" } as const;
    const writer = await scene.ready("writer", { parts: { logBackup } });
    const last = await put(writer, 0, 5, "v");
    await writer.checkpoint().done;
    await vi.waitFor(async () =>
      expect((await writer.status()).logBackup?.covered).toEqual([{ first: 1, last }]),
    );
    await scene.stop(writer);
    await change(scene, last);
    const unanswered: (string | undefined)[] = [];
    do {
      const silent = new SilentStore(path.join(scene.folder, "checkpoints"));
      silent.answers = unanswered.length;
      const node = await scene.start(`reader-${unanswered.length}`, { store: silent.store });
      await vi.waitFor(async () => {
        const { phase, failure } = await node.status();
        expect(silent.awaited.length > 0 || phase === "ready" || failure !== null).toBe(true);
      });
      const closing = performance.now();
      await scene.stop(node);
      expect(performance.now() - closing).toBeLessThan(5_000);
      unanswered.push(silent.awaited[0]);
    } while (unanswered.at(-1) !== undefined);
    expect(unanswered).toEqual(expect.arrayContaining(reads));
  },
);
