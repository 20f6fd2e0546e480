import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { expect, it } from "vitest";
import type { TxOperation } from "@cairn/client";
import { emptyState } from "@cairn/engine/src/index/rows/index-state";
import { evictionPlaces } from "@cairn/engine/src/node/node-evictions";
import type { TxLog } from "@cairn/engine";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";
import { observedScene } from "@cairn/test-support/nodes/observed-node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const logBounds = () => Promise.resolve({ first: 1, last: 9 });

const KEYS = ["a", "b", "team/c"];

it(
  "a node lists for an eviction all checkpoints from before it, and none after it has the content",
  { tags: "rest/slow" },
  async () => {
    const scene = await observedScene();
    const node = await scene.start("n", { checkpointing: { retentionPolicy: { retainAtLeast: 100 } } });
    await node.ready;
    const steps: TxOperation[][] = [
      [["put", "pods", "other", 1]],
      [["put", "pods", "a", 1]],
      [
        ["evict", "pods", "a"],
        ["put", "pods", "b", 1],
      ],
      [
        ["put", "pods", "team/c", 1],
        ["put", "pods", "b", 2],
      ],
      [["delete", "pods", "b"]],
      [["put", "other", "a", 1]],
      [["evict", "pods", "b"]],
      [
        ["match", "pods", "a", 99],
        ["put", "pods", "a", 2],
      ],
      [["put", "pods", "a", 3]],
      [["put", "pods", "a", 4]],
      [
        ["evict", "pods", "a"],
        ["evict", "pods", "team/c"],
        ["evict", "pods", "b"],
      ],
    ];
    for (const ops of steps) {
      await node.await((await node.submit({ ops })).txId);
      await saveCheckpoint(node);
    }
    const saved = (await node.checkpoints()).map(({ name, txId }) => ({ name, txId }));
    expect(saved).toHaveLength(steps.length);

    // This is the content of each key, as read from each checkpoint.
    const held = new Set<string>();
    for (const { name } of saved) {
      for (const key of KEYS) {
        const place = path.join(scene.folder, "checkpoints", name);
        const { code } = await cairn(["db", "history", place, "pods", key], new CapturedTerminal());
        if (code === 0) held.add(`${name} ${key}`);
      }
    }
    expect(held.size).toBeGreaterThan(8);
    const { evictions } = await node.evictions();
    expect(evictions).toHaveLength(5);
    for (const { namespace, name, txId, checkpoints, inFilesOf, firstWithout, files } of evictions) {
      // Each of these checkpoints was saved after everything that had been evicted before was purged.
      expect([inFilesOf, firstWithout]).toEqual([[], saved.findLast((one) => one.txId >= txId)?.name]);
      expect(files.goneSince).not.toBeNull();
      const key = namespace === "default" ? name : `${namespace}/${name}`;
      const earlier = saved.filter((one) => one.txId < txId);
      expect([key, txId, checkpoints]).toEqual([key, txId, earlier.map((one) => one.name)]);
      // After the last eviction of the key, no checkpoint has it.
      const later = saved.filter((one) => one.txId >= txId && held.has(`${one.name} ${key}`));
      const isLast = !evictions.some((one) => one.name === name && one.txId > txId);
      if (isLast) expect(later).toEqual([]);
    }
  },
);

it.each<[what: string, log: Partial<TxLog> | undefined]>([
  ["of a history that the log lost", { fetch: () => Promise.resolve(undefined) }],
  [
    "of a log that does not respond",
    { fetch: () => Promise.reject(new CairnError("LOG_UNREACHABLE", "Away.")) },
  ],
  ["without a log", undefined],
])("a node lists every checkpoint %s from before an eviction, and takes none for clean", async (_, log) => {
  const scene = await observedScene();
  const folder = path.join(scene.folder, "lost");
  const names = await saveTo(folder, [3, 6]);
  const state = {
    ...emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 9 }, birth: undefined }),
    txId: 9,
  };
  const page = {
    evictions: [
      {
        txId: 8,
        txTime: "2026-11-20T06:00:00.000Z",
        bucket: "pods",
        namespace: "default",
        name: "a",
        files: { goneSince: null, waitsFor: "compaction" as const },
      },
    ],
  };
  const store = filesystemStore({ path: folder });
  const asked = log === undefined ? undefined : ({ name: "cairn", bounds: logBounds, ...log } as TxLog);
  const { evictions } = await evictionPlaces(page, state, asked, {
    checkpointer: { store, approxFrequency: 3_600_000 } as never,
  });
  expect(evictions[0]?.checkpoints).toEqual(names.toReversed());
  expect(evictions[0]?.firstWithout).toBeNull();
  // Even if the checkpoint was saved after an eviction, it may belong to a history in which the content was not
  // purged.
  const early = page.evictions.map((one) => ({ ...one, txId: 2 }));
  const later = await evictionPlaces({ evictions: early }, state, asked, {
    checkpointer: { store, approxFrequency: 3_600_000 } as never,
  });
  expect(later.evictions[0]).toMatchObject({ inFilesOf: names.toReversed(), firstWithout: null });
  // Killed nodes leave archives without a manifest, and damaged ones have none that can be read.
  const [first = "", second = ""] = names;
  await rm(path.join(folder, `${first}.json`));
  await writeFile(path.join(folder, `${second}.json`), "{");
  const left = await evictionPlaces(page, state, asked, {
    checkpointer: { store, approxFrequency: 3_600_000 } as never,
  });
  expect(left.evictions[0]).toMatchObject({ checkpoints: [], inFilesOf: [second, first] });
});
