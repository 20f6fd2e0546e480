import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import type { KvOpening, KvStore } from "../../src/store/kv-store.ts";
import { levelProvider, type LevelOptions } from "../../src/level/level-kv-store.ts";

/**
 * A directory for each test of the file. It is removed after the test, once the stores that were opened in it are
 * closed.
 */
export interface TestDirectory {
  path(...parts: string[]): string;
  /** Opens a LevelDB store in the directory, by default with the smallest write buffer. */
  open(name: string, options?: LevelOptions, opening?: KvOpening): Promise<KvStore>;
}

/** Registers the hooks that create and remove the directory. */
export function testDirectory(): TestDirectory {
  let dir = "";
  const stores: KvStore[] = [];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "kv-"));
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await rm(dir, { recursive: true, force: true });
  });
  return {
    path: (...parts) => join(dir, ...parts),
    async open(name, options = { writeBufferSize: 64 * 1024 }, opening = {}) {
      const store = await levelProvider(options).open(join(dir, name), opening);
      stores.push(store);
      return store;
    },
  };
}
