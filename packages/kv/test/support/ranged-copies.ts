import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RunningWork } from "../../src/concurrency/running-work.ts";
import { Semaphore } from "../../src/concurrency/semaphore.ts";
import { levelProvider } from "../../src/level/level-kv-store.ts";
import { openRanged, type RangedStore } from "../../src/ranges/ranged-store.ts";
import type { KvProvider, KvStore } from "../../src/store/kv-store.ts";
import { folderFiles } from "./folder-files.ts";

const level = levelProvider({ writeBufferSize: 64 * 1024 });

/** LevelDB, of which everything is read by ranges of a copy made after each write. */
export const rangedCopies: KvProvider = {
  ...level,
  async open(dir, opening) {
    const store = await level.open(dir, opening);
    const copies = await mkdtemp(join(tmpdir(), "kv-ranged-"));
    let copied = 0;
    const copy = async (): Promise<RangedStore> => {
      const target = join(copies, String(copied++));
      await store.capture(target, { unchecked: true });
      return await openRanged(await folderFiles(target));
    };
    let ranged = await copy();
    const running = new RunningWork();
    // One copy is made after the other. Otherwise, an earlier one could replace one that contains more writes.
    const alone = new Semaphore(1);
    const copyAfter = async (change: Promise<void>): Promise<void> => {
      await change;
      await alone.run(async () => {
        ranged = await copy();
      });
    };
    const batch: KvStore["batch"] = async (...given) => await running.track(copyAfter(store.batch(...given)));
    return {
      get: (key) => ranged.get(key),
      getMany: async (keys) => await ranged.getMany(keys),
      range: (range) => ranged.range(range),
      snapshot: () => ranged.snapshot(),
      batch,
      capture: async (target, options) => await store.capture(target, options),
      compact: async () => await running.track(copyAfter(store.compact())),
      stats: async () => await store.stats(),
      close: async () => {
        await running.idle();
        await ranged.close();
        await store.close();
        await rm(copies, { recursive: true, force: true });
      },
    };
  },
};
