// @module-tag nats
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { TxOperation } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type CairnNode, type TxLog } from "@cairn/engine";
import { listBackup } from "@cairn/engine/src/backup/segments/segment-name";
import { emptyState } from "@cairn/engine/src/index/rows/index-state";
import { evictionPlaces } from "@cairn/engine/src/node/node-evictions";
import { backupTarget, writeRuns } from "@cairn/test-support/nodes/trimmed-backup";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { serve } from "@cairn/test-support/nodes/served-node";
import { type TrimScene, trimScene } from "@cairn/test-support/nodes/trim-scene";

const HINT = "To remove them: cairn log backup prune --through 12";
const SECRET = "a secret that is to be erased";

interface Evicted {
  readonly scene: TrimScene;
  readonly node: CairnNode;
  readonly log: TxLog;
  readonly txId: number;
}

/** Puts other documents at transactions 2 to 5, a secret at 6 and 9, evicts it at 12, and ends at 14. */
async function evicted(keep: number | "all"): Promise<Evicted> {
  const scene = await trimScene("nats");
  // The node's own first look at the backup, at a random instant of its first minute, would add segments.
  const random = vi.spyOn(Math, "random").mockReturnValue(0.999);
  onTestFinished(() => random.mockRestore());
  const node = await scene.start("n", { logBackup: { every: 3_600_000, keep, codec: "none" } });
  await node.ready;
  for (let txId = 2; txId <= 14; txId += 1) {
    await node.await((await node.submit({ ops: [operationAt(txId)] })).txId);
  }
  const log = await scene.openLog();
  onTestFinished(() => log.close());
  return { scene, node, log, txId: 12 };
}

function operationAt(txId: number): TxOperation {
  if (txId === 12) return ["evict", "things", "secret"];
  return txId === 6 || txId === 9 ? ["put", "things", "secret", SECRET] : ["put", "things", `k${txId}`, 1];
}

const away = (): Promise<never> => Promise.reject(new CairnError("STORE_UNREACHABLE", "Away."));

/** Returns the segments whose files contain the secret. */
async function holding(scene: TrimScene, logId: string): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of (await listBackup(scene.store, logId)).segments) {
    const content = await readFile(path.join(scene.folder, "checkpoints", name), "utf8");
    if (content.includes(SECRET)) found.push(name);
  }
  return found;
}

describe("an evicted document", () => {
  it("is listed with the segments of the log backup that contain it, and with the time after which they may be removed", async () => {
    const { scene, node, log } = await evicted(3_600_000);
    const target = await backupTarget(scene, log);
    await writeRuns(target, 1, 4, 6, 7, 9, 10, 13, 15);
    const { evictions } = await node.evictions();
    const held = await holding(scene, target.of.id);
    expect(held).toHaveLength(2);
    const listed = evictions[0]?.segments ?? [];
    expect(listed).toEqual(expect.arrayContaining(held));
    // All that begin before the eviction are listed, because any of them may contain it.
    expect(listed.map((name) => Number(name.split("/")[1]?.slice(0, 16)))).toEqual([1, 4, 6, 7, 9, 10]);
    const { segments } = await listBackup(scene.store, target.of.id);
    const newest = Math.max(
      ...segments.filter(({ name }) => listed.includes(name)).map((one) => one.modifiedAt),
    );
    expect(evictions[0]?.segmentsUntil).toBe(new Date(newest + 3_600_000).toISOString());
  });

  it("is listed without a time if segments are kept, and without segments once they are gone", async () => {
    const { scene, node, log, txId } = await evicted("all");
    const target = await backupTarget(scene, log);
    await writeRuns(target, 1, 8, 15);
    expect((await node.evictions()).evictions).toMatchObject([{ txId, segmentsUntil: null }]);
    const { segments } = await listBackup(scene.store, target.of.id);
    expect((await node.evictions()).evictions[0]?.segments).toEqual(segments.map(({ name }) => name));
    for (const { name } of segments) await scene.store.remove(name);
    expect((await node.evictions()).evictions).toMatchObject([{ segments: [], segmentsUntil: null }]);
  });

  it("may be in every segment of a history that the log lost, and its segments are unknown if the store does not respond", async () => {
    const { scene, log, txId } = await evicted("all");
    const target = await backupTarget(scene, log);
    await writeRuns(target, 1, 13, 15);
    const state = {
      ...emptyState({ id: target.of.id, name: "cairn", bounds: await log.bounds(), birth: undefined }),
    };
    const eviction = { txId, txTime: "2026-11-20T06:00:00.000Z", bucket: "b", namespace: "n", name: "a" };
    const page = {
      evictions: [{ ...eviction, files: { goneSince: null, waitsFor: "compaction" as const } }],
    };
    const bounds = () => log.bounds();
    const lost = { name: "cairn", bounds, fetch: () => Promise.resolve(undefined) } as unknown as TxLog;
    const places = async (of: TxLog, store: typeof scene.store): Promise<number | undefined> => {
      const checkpointer = { store, approxFrequency: 1 } as never;
      const { evictions } = await evictionPlaces(page, state, of, { checkpointer });
      return evictions[0]?.segments?.length;
    };
    expect(await places(log, scene.store)).toBe(1);
    expect(await places(lost, scene.store)).toBe(2);
    const { store } = scene;
    expect(await places(log, { ...store, list: away })).toBeUndefined();
  });

  it("is printed by cairn evictions with its segments and with the way to remove them", async () => {
    await using served = await serve();
    const eviction = {
      txId: 12,
      txTime: "2026-11-20T06:00:00.000Z",
      bucket: "b",
      namespace: "n",
      name: "a",
      files: { goneSince: null, waitsFor: "compaction" as const },
      log: null,
      checkpoints: [],
      inFilesOf: [],
      firstWithout: null,
    };
    const print = async (segments: string[] | null, segmentsUntil: string | null): Promise<string> => {
      served.node.evictions = () =>
        Promise.resolve({ evictions: [{ ...eviction, segments, segmentsUntil, hint: HINT }] });
      const { stdout, stderr } = await cairn(["evictions", "--url", served.url], new CapturedTerminal());
      return stdout + stderr;
    };
    expect(await print([], null)).not.toContain("BACKUP");
    expect(await print(["s1", "s2"], null)).toMatch(
      /BACKUP\n.* s1, s2 until they are pruned\n[^]*\nTo remove them: cairn log backup prune --through 12\n$/,
    );
    expect(await print(["s1"], eviction.txTime)).toContain(`s1 until ${eviction.txTime}\n`);
    expect(await print(null, null)).toContain("(the store does not respond)\n");
  });
});
