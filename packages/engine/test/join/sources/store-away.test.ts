// @module-tag nats
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { faultyStore, type StoreFaults, unreachable } from "@cairn/checkpoint/testing";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../../src/node/node.ts";

let scene: ClusterScene;
let faults: StoreFaults;
let store: CheckpointStore;
let last = 0;
beforeEach(async () => {
  hurryClock();
  scene = await ClusterScene.open();
  faults = { fail: unreachable };
  store = faultyStore(filesystemStore({ path: path.join(scene.folder, "checkpoints") }), faults);
  const other = await scene.ready("other");
  last = await put(other, 0, 5, "v");
  await saveCheckpoint(other);
  await scene.stop(other);
});
afterEach(() => scene.close());

const PATIENT = { timeout: 20_000, interval: 20 };

const started = async (waitForStoreMs?: number): Promise<CairnNode> =>
  await scene.start("a", { store, parts: waitForStoreMs === undefined ? {} : { waitForStoreMs } });

/** Waits until the node says what it waits for, and returns that. */
async function waiting(node: CairnNode): Promise<string> {
  await vi.waitFor(
    async () => expect((await node.status()).failure?.code).toBe("STORE_UNREACHABLE"),
    PATIENT,
  );
  return (await node.status()).failure?.hint ?? "";
}

describe("a node without an index whose checkpoint store is away", () => {
  it(
    "says for what it waits, since when, and what it does when; then it replays the log, once",
    { tags: "rest/slow" },
    async () => {
      const begun = Date.now();
      const node = await started(1_000);
      const hint = await waiting(node);
      const [, since = "", until = ""] =
        /has waited for a checkpoint in this store since (\S+Z)\. At (\S+Z), the node stops waiting, and builds its index from the log/.exec(
          hint,
        ) ?? [];
      expect(Date.parse(since)).toBeGreaterThanOrEqual(begun);
      expect(Date.parse(until) - Date.parse(since)).toBe(1_000);
      await node.ready;
      expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(until) - 50);
      // The store is back.
      faults.fail = () => undefined;
      await scene.stop(node);
      const again = await scene.ready("a", { store });
      const { join, index } = await again.status();
      expect(join).toMatchObject({ restoredFrom: null, movedAside: [], replayed: 0 });
      expect(index.documents).toBe(5);
    },
  );

  it(
    "restores a checkpoint if the store is back in time, as after a short outage by default",
    { tags: "rest/slow" },
    async () => {
      const node = await started();
      expect(await waiting(node)).toContain("the node stops waiting");
      faults.fail = () => undefined;
      await node.ready;
      expect((await node.status()).join.restoredFrom).toMatchObject({ txId: last });
    },
  );

  it(
    "waits as long as necessary if the log is not complete, and says so",
    { tags: "rest/slow" },
    async () => {
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(3));
      const node = await started(1);
      for (let tries = 0; tries < 3; tries += 1)
        expect(await waiting(node)).toContain(
          "waits as long as necessary, because the log without the store",
        );
      faults.fail = () => undefined;
      await node.ready;
      expect((await node.status()).join.restoredFrom).toMatchObject({ txId: last });
    },
  );

  it(
    "waits as long as necessary if the log may be the wrong one, because it holds nothing",
    { tags: "rest/slow" },
    async () => {
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      const parts = { onLogMismatch: { regressed: "rebuild", different: "rebuild" } } as const;
      const wrong = await scene.ready("wrong", {
        parts,
        store: filesystemStore({ path: path.join(scene.folder, "wrong") }),
      });
      await scene.stop(wrong);
      expect(await waiting(await started(1))).toContain("waits as long as necessary");
    },
  );
});
