import { levelProvider } from "../../../src/level/level-kv-store.ts";
import { memoryProvider } from "../../../src/level/memory-kv-store.ts";
import type { KvProvider, KvReader, KvSnapshot } from "../../../src/store/kv-store.ts";
import { rangedCopies } from "../../support/ranged-copies.ts";

/** The stores to judge, by name. The last one reads a database as a node does that is attached to a checkpoint. */
export const STORES: Readonly<Record<string, KvProvider>> = {
  memory: keptInCaptures(memoryProvider()),
  LevelDB: levelProvider(),
  attached: rangedCopies,
};

/** Stores with one fault each, by the fault. */
export const FAULTY_STORES: Readonly<Record<string, KvProvider>> = {
  "ranges include their upper bound": withSnapshots((snapshot) => ({
    range: ({ lt, ...range }) => snapshot.range(lt === undefined ? range : { ...range, lte: lt }),
  })),
  "snapshots show later writes": withSnapshots((_, store) => readsOf(store)),
};

/** Returns stores that are captured when they are closed, and opened from there: some tests need what was there before. */
function keptInCaptures({ open, ...provider }: KvProvider): KvProvider {
  const captures = new Map<string, string>();
  return {
    ...provider,
    open: async (dir) => {
      const store = await open(captures.get(dir) ?? dir);
      const end = store.close.bind(store);
      const close = async (): Promise<void> => {
        const capture = `${captures.get(dir) ?? dir}-again`;
        await store.capture(capture);
        captures.set(dir, capture);
        await end();
      };
      return Object.assign(store, { close });
    },
  };
}

/** Returns stores in memory, of whose snapshots `change` replaces some methods. */
function withSnapshots(change: (snapshot: KvSnapshot, store: KvReader) => Partial<KvReader>): KvProvider {
  const provider = keptInCaptures(memoryProvider());
  return {
    ...provider,
    open: async (dir) => {
      const store = await provider.open(dir);
      const take = store.snapshot.bind(store);
      const snapshot = (): KvSnapshot => {
        const taken = take();
        return { ...readsOf(taken), ...change(taken, store), close: () => taken.close() };
      };
      return Object.assign(store, { snapshot });
    },
  };
}

function readsOf(reader: KvReader): KvReader {
  return {
    get: (key) => reader.get(key),
    getMany: (keys) => reader.getMany(keys),
    range: (range) => reader.range(range),
  };
}
