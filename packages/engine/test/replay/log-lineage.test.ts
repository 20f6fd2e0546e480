import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { systemClock, LEVEL_FORMAT } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readLineages, replacedLogs } from "../../src/backup/backup-lineage.ts";
import { BackupReader } from "../../src/backup/backup-reader.ts";
import { lookAtBackup } from "../../src/backup/write/backup-look.ts";
import { findLostLog } from "../../src/join/lost-log.ts";
import { anchorOf } from "../../src/log/anchor.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { ContinuedLog } from "../../src/transactions/birth-record.ts";
import { latestOf } from "../../src/replay/logs-in-store.ts";
import { encodeBirthRecord } from "../../src/transactions/transaction-codec.ts";
import { noMemory } from "@cairn/test-support/nodes/backup-scene";

const HOUR_MS = 3_600_000;
/** The number of messages in each log. */
const MESSAGES = 10;

describe("of two logs that continue the same one at different points, the one recovered later counts", () => {
  let folder: string;
  let store: CheckpointStore;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-lineage-"));
    store = filesystemStore({ path: path.join(folder, "store") });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await rm(folder, { recursive: true });
  });

  /** A log with a backup. */
  interface Begun {
    readonly id: string;
    /** Returns what a log contains that continues this one after a transaction. */
    continuedAt(txId: number): ContinuedLog;
  }

  /** Begins a log on a server whose clock is ahead by some time (ms), fills it, and writes its backup. */
  async function begin(name: string, aheadMs: number, continues?: ContinuedLog): Promise<Begun> {
    const offset = continues?.anchor.txId ?? 0;
    const replaces = continues === undefined ? [] : replacedLogs(await readLineages([store]), continues.log);
    const now = Date.now.bind(Date);
    vi.spyOn(Date, "now").mockImplementation(() => now() + aheadMs);
    const log = await openEmbeddedTxLog({ path: path.join(folder, name), name: "cairn" });
    try {
      const birth = { offset, ...(continues && { continues, deliberate: true }), replaces };
      await log.create((id) => encodeBirthRecord({ log: id, ...birth }));
      for (let n = 1; n < MESSAGES; n += 1) await log.append(Buffer.from(`${name} ${n}`));
      vi.restoreAllMocks();
      const id = (await log.id()) ?? "";
      await lookAtBackup({
        store,
        log,
        of: { id, name: "cairn", offset },
        node: "a",
        codec: "none",
        every: 1_000,
        forced: true,
        memory: noMemory(),
        clock: systemClock,
        signal: new AbortController().signal,
      });
      const anchors: string[] = [];
      for (let position = 1; position <= MESSAGES; position += 1) {
        const message = await log.fetch(position);
        anchors.push(message === undefined ? "" : anchorOf(message).sha256);
      }
      const continuedAt = (txId: number): ContinuedLog => ({
        log: id,
        anchor: { txId, sha256: anchors[txId - offset - 1] ?? "" },
      });
      return { id, continuedAt };
    } finally {
      await log.close();
    }
  }

  it.each([0, 3])("even if the clock of the other's server was %d hours ahead", async (hours) => {
    const lost = await begin("lost", 0);
    const abandoned = await begin("abandoned", hours * HOUR_MS, lost.continuedAt(8));
    const current = await begin("current", 0, lost.continuedAt(5));
    expect(replacedLogs(await readLineages([store]), lost.id)).toEqual(
      expect.arrayContaining([abandoned.id, current.id]),
    );
    expect(replacedLogs(await readLineages([store]), current.id)).toEqual([abandoned.id]);
    const reader = new BackupReader({ store, every: 50 });
    expect(await reader.id()).toBe(current.id);
    await reader.close();
    expect((await findLostLog([store], { name: "cairn", kvFormat: LEVEL_FORMAT }))?.id).toBe(current.id);
  });

  async function chosen(ids: readonly string[], asked?: string): Promise<readonly string[]> {
    return [...(await latestOf(store, new Map(ids.map((id) => [id, "cairn"])), asked)).keys()];
  }

  it("a store's choice is among lineages: one whose newest log has only a backup is not passed over", async () => {
    const lost = await begin("lost", 0);
    const unrelated = await begin("unrelated", 0);
    const current = await begin("current", 0, lost.continuedAt(8));
    expect(await chosen([lost.id, unrelated.id])).toEqual([lost.id, unrelated.id]);
    expect(await chosen([lost.id, current.id, unrelated.id])).toEqual([current.id, unrelated.id]);
    expect(await chosen([lost.id, current.id])).toEqual([current.id]);
    // What leads to a log is chosen with it.
    expect(await chosen([lost.id, unrelated.id], current.id)).toEqual([lost.id]);
    expect(await chosen([unrelated.id], current.id)).toEqual([]);
  });
});
