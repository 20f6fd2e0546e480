import { readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { MemoryLevel } from "memory-level";
import { requireNone } from "../capture/live-capture.ts";
import type { KvCapture, KvOperation, KvProvider, KvReader, KvSnapshot, KvStore } from "../store/kv-store.ts";
import { RunningWork } from "../concurrency/running-work.ts";
import { closed, explained } from "./level-errors.ts";
import { holdsLevelDb, measureFiles } from "../files/level-files.ts";
import { LEVEL_FORMAT, levelProvider } from "./level-kv-store.ts";
import { pagesOf, readsOf, snapshotReader } from "./level-reader.ts";
import { makeFolder } from "../disk/folders.ts";
import { closing } from "../concurrency/closing.ts";

type Rows = MemoryLevel<Uint8Array, Uint8Array>;

/**
 * Returns a provider of stores in memory. `open` loads the rows of a LevelDB database in the directory, such as a
 * restored checkpoint. If there is none, it does not even create the directory. Only `capture` writes files, in
 * LevelDB's format, so that checkpoints can be exchanged with {@link levelProvider}.
 */
export function memoryProvider(): KvProvider {
  return {
    format: LEVEL_FORMAT,
    persistent: false,
    async open(place) {
      const dir = resolve(place);
      // The package is loaded here, because most nodes do not use it, and would otherwise start more slowly.
      const memory = await import("memory-level");
      const rows: Rows = new memory.MemoryLevel({
        keyEncoding: "view",
        valueEncoding: "view",
        storeEncoding: "view",
      });
      await rows.open();
      const store = storeOf(rows, dir);
      if (!(await holdsLevelDb(dir))) return store;
      await closing(await levelProvider().open(dir), (files) => copyRows(files, store));
      return store;
    },
  };
}

function storeOf(rows: Rows, dir: string): KvStore {
  const place = `memory (of ${dir})`;
  const captures = new RunningWork();
  let ended: Promise<void> | undefined;
  const requireOpen = (): void => {
    if (ended !== undefined) throw closed(place);
  };
  const snapshot = (): KvSnapshot => {
    requireOpen();
    return snapshotReader(rows, place);
  };
  return {
    ...readsOf(rows, place),
    range: (range) => pagesOf(rows, place, range),
    snapshot,
    async batch(operations) {
      requireOpen();
      // The rows are copied, as in a store on disk, because callers may reuse their buffers.
      await explained(rows.batch(operations.map(copyOperation)), place);
      // Nothing here waits for a disk, so a writer that did not yield to the event loop would block everything else.
      await setImmediate();
    },
    capture: async (target) =>
      await captures.track(closing(snapshot(), (state) => capture(state, resolve(target)))),
    async compact() {
      requireOpen();
    },
    /** Returns a purge that does nothing, because there are no files, and a capture writes only existing rows. */
    purge() {
      requireOpen();
      return { run: () => Promise.resolve("gone") };
    },
    async stats() {
      requireOpen();
      return { bytes: 0, files: 0 };
    },
    close() {
      ended ??= captures.idle().then(() => rows.close());
      return ended;
    },
  };
}

async function capture(snapshot: KvSnapshot, dir: string): Promise<KvCapture> {
  const created = (await makeFolder(dir)) !== undefined;
  requireNone(await readdir(dir), dir);
  try {
    await closing(await levelProvider().open(dir), (files) => copyRows(snapshot, files));
    // These files are needed only by the process that has the database open.
    for (const name of ["LOCK", "LOG", "LOG.old"]) await rm(join(dir, name), { force: true });
    return { linked: 0, copied: 0, bytes: (await measureFiles(dir)).bytes };
  } catch (error) {
    // The directory itself is kept if it existed before.
    if (created) await rm(dir, { recursive: true, force: true });
    else for (const name of await readdir(dir)) await rm(join(dir, name), { force: true });
    throw error;
  }
}

async function copyRows(source: KvReader, target: Pick<KvStore, "batch">): Promise<void> {
  for await (const rows of source.range({}))
    await target.batch(rows.map(([key, value]) => ({ type: "put", key, value })));
}

function copyOperation(operation: KvOperation): KvOperation {
  const key = copyBytes(operation.key);
  return operation.type === "put"
    ? { type: "put", key, value: copyBytes(operation.value) }
    : { type: "del", key };
}

/** A view into a larger buffer must not keep the whole buffer alive. */
function copyBytes(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}
