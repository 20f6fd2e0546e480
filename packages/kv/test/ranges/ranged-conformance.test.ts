import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { levelProvider } from "../../src/level/level-kv-store.ts";
import { RunningWork } from "../../src/concurrency/running-work.ts";
import { openRanged } from "../../src/ranges/ranged-store.ts";
import type { KvProvider, KvStore } from "../../src/store/kv-store.ts";
import { kvStoreSuite } from "../../testing/kv-store-suite.ts";
import { folderFiles } from "../support/folder-files.ts";

const level = levelProvider({ writeBufferSize: 64 * 1024 });

/** LevelDB, of which everything is read by ranges of a copy made after each write. */
const provider: KvProvider = {
  ...level,
  async open(dir, opening) {
    const store = await level.open(dir, opening);
    const copies = await mkdtemp(join(tmpdir(), "kv-ranged-"));
    let copied = 0;
    const copy = async (): Promise<KvStore> => {
      const target = join(copies, String(copied++));
      await store.capture(target, { unchecked: true });
      return await openRanged(await folderFiles(target));
    };
    let ranged = await copy();
    const running = new RunningWork();
    const write = async (...given: Parameters<KvStore["batch"]>): Promise<void> => {
      await store.batch(...given);
      ranged = await copy();
    };
    return {
      get: (key) => ranged.get(key),
      getMany: async (keys) => await ranged.getMany(keys),
      range: (range) => ranged.range(range),
      snapshot: () => ranged.snapshot(),
      batch: async (...given) => await running.track(write(...given)),
      capture: async (target, options) => await store.capture(target, options),
      compact: async () => {
        await store.compact();
        ranged = await copy();
      },
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

kvStoreSuite("LevelDB read by ranges", { provider });
