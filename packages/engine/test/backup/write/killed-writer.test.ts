import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { filesystemStore } from "@cairn/checkpoint";
import { systemClock } from "@cairn/kv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BackupLog } from "../../../src/backup/backup-log.ts";
import { lookAtBackup } from "../../../src/backup/write/backup-look.ts";
import { coveredRanges, listBackup } from "../../../src/backup/segments/segment-name.ts";
import { readSegment } from "../../../src/backup/segments/read-segment.ts";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { takeMessages, text } from "../../../testing/log-messages.ts";
import { BackupScene, noMemory } from "@cairn/test-support/nodes/backup-scene";

const CHILD = fileURLToPath(new URL("../../../dist/test/backup/write/killed-child.js", import.meta.url));
/** A folder with 63 small segments, and a message that is not in any of them. */
const SEGMENTS = 63;
const MESSAGES = SEGMENTS + 2;
/**
 * The steps of the 69 requests that change the store: request 1 takes the lease, 2 writes, 3 merges, 64 requests
 * remove, one writes the pointer, and the last one ends the lease.
 */
const STEPS =
  "after 1,before 2,within 2,after 2,within 3,after 3,after 4,before 36,after 67,after 68,never".split(",");

describe("a node that is killed while it writes, merges or removes segments", () => {
  let folder: string;
  let logId: string;
  beforeAll(async () => {
    const scene = await BackupScene.open();
    for (let n = 1; n <= SEGMENTS; n += 1) {
      await scene.append(`message ${n}`.repeat(n));
      await scene.look();
    }
    await scene.append("the last one");
    ({ logId } = scene);
    folder = await mkdtemp(path.join(tmpdir(), "cairn-killed-writer-"));
    await scene.log.close();
    await cp(scene.folder, folder, { recursive: true });
    await rm(scene.folder, { recursive: true });
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(STEPS)(
    "loses nothing, and lists only complete files (SIGKILL %s)",
    { tags: "rest/slow" },
    async (step) => {
      const place = await mkdtemp(path.join(tmpdir(), "cairn-killed-writer-"));
      try {
        await cp(folder, place, { recursive: true });
        const store = filesystemStore({ path: path.join(place, "store") });
        const before = coveredRanges((await listBackup(store, logId)).segments);
        const { signal, output } = await killed(place, step);
        if (step === "never") expect(JSON.parse(output)).toMatchObject({ writes: 69, merged: [{}] });
        else expect(signal).toBe("SIGKILL");

        const { segments, foreign } = await listBackup(store, logId);
        const [covered] = coveredRanges(segments);
        expect(before).toEqual([{ first: 1, last: MESSAGES - 1 }]);
        expect(covered?.last).toBeGreaterThanOrEqual(MESSAGES - 1);
        expect(foreign).toEqual([]);
        for (const segment of segments) {
          expect((await readSegment(store, segment))?.header).toMatchObject({ first: segment.first });
        }

        const log = await openEmbeddedTxLog({ path: path.join(place, "log") });
        const backup = new BackupLog({ store, logId, every: 5 });
        try {
          const all = (await takeMessages(log, 1, MESSAGES)).map(text);
          expect((await takeMessages(backup, 1, covered?.last ?? 0)).map(text)).toEqual(
            all.slice(0, covered?.last),
          );
          await letLeaseExpire(place, logId);
          const next = (): ReturnType<typeof lookAtBackup> =>
            lookAtBackup({
              store,
              log,
              of: { id: logId, name: log.name, offset: 0 },
              node: "next",
              codec: "none",
              every: 60_000,
              forced: true,
              memory: noMemory(),
              clock: systemClock,
              signal: new AbortController().signal,
            });
          const { covered: now, skipped, segments: count } = await next();
          expect({ now, skipped }).toEqual({ now: [{ first: 1, last: MESSAGES }], skipped: undefined });
          expect(count).toBeLessThan(SEGMENTS);
          expect((await next()).written).toEqual([]);
          expect((await takeMessages(backup, 1, MESSAGES)).map(text)).toEqual(all);
        } finally {
          await backup.close();
          await log.close();
        }
      } finally {
        await rm(place, { recursive: true });
      }
    },
  );
});

/** Runs a node that kills itself at a step. */
const killed = (place: string, step: string): Promise<{ signal: string | null; output: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [CHILD, place, step], (error, stdout) => {
      resolve({ signal: error?.signal ?? null, output: stdout });
    });
  });

/** Makes the leftovers of a killed writer old: its lease and its unfinished file. */
async function letLeaseExpire(place: string, logId: string): Promise<void> {
  const old = Date.now() / 1_000 - 7_200;
  const store = path.join(place, "store");
  const lease = path.join(store, `log-${logId}`, "in-progress.json");
  await utimes(lease, old, old).catch(() => undefined);
  for (const name of await readdir(store)) {
    if (name.startsWith(".tmp-")) await utimes(path.join(store, name), old, old);
  }
}
