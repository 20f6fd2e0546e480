import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { systemClock } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BackupLog } from "../../src/backup/backup-log.ts";
import { type BackupLook, lookAtBackup } from "../../src/backup/write/backup-look.ts";
import type { BackupMemory } from "../../src/backup/write/look-results.ts";
import { listBackup } from "../../src/backup/segments/segment-name.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { BackupScene } from "@cairn/test-support/nodes/backup-scene";
import { bytes, takeMessages, text } from "../../testing/log-messages.ts";

describe("a log and its backup in a folder", () => {
  let folder: string;
  let log: TxLog;
  let logId: string;
  const memory: BackupMemory = { storeClock: undefined, damaged: new Map() };
  const store = () => filesystemStore({ path: path.join(folder, "store") });

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-backup-"));
    log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
    await log.create((id) => bytes(`birth of ${id}`));
    logId = (await log.id()) ?? "";
  });
  afterEach(async () => {
    await log.close();
    await rm(folder, { recursive: true });
  });

  const look = async (forced = true): Promise<BackupLook> =>
    await lookAtBackup({
      store: store(),
      log,
      of: { id: logId, name: log.name, offset: 0 },
      node: "a",
      codec: "none",
      every: 60_000,
      forced,
      memory,
      clock: systemClock,
      signal: new AbortController().signal,
    });

  it(
    "contain the same messages after each look, and small segments are merged",
    { tags: "rest/slow" },
    async () => {
      for (let n = 0; n < 70; n += 1) {
        await log.append(bytes(`message ${n}`));
        const { covered, written } = await look();
        expect(covered).toEqual([{ first: 1, last: n + 2 }]);
        expect(written).toHaveLength(1);
      }
      const { segments } = await listBackup(store(), logId);
      expect(segments.length).toBeLessThan(10);
      const backup = new BackupLog({ store: store(), logId, every: 10 });
      expect(await backup.bounds()).toEqual(await log.bounds());
      const read = await takeMessages(backup, 1, 71);
      expect(read).toEqual((await takeMessages(log, 1, 71)).map((one) => ({ ...one, nanoseconds: 0 })));
      expect(text(await backup.fetch(5))).toBe(text(await log.fetch(5)));
    },
  );

  it.each(["none", "gzip"] as const)(
    "read a segment once for all its messages, even after a new listing (%s)",
    async (codec) => {
      const scene = await BackupScene.open();
      try {
        await scene.append("first", "second");
        await scene.look({ codec });
        let opened = 0;
        const counting = {
          ...scene.store,
          open: async (...asked: Parameters<typeof scene.store.open>) => {
            opened += 1;
            return await scene.store.open(...asked);
          },
        };
        const backup = new BackupLog({ store: counting, logId: scene.logId, every: 0 });
        for (const position of [1, 2, 3, 2]) expect((await backup.fetch(position))?.position).toBe(position);
        expect(opened).toBe(1);
      } finally {
        await scene.close();
      }
    },
  );
});
