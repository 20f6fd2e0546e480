import { constants } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { MIN_BYTES_FOR_THREAD } from "../../src/concurrency/worker-thread.ts";
import { levelProvider } from "../../src/level/level-kv-store.ts";
import { countedBatch } from "../../testing/counted-rows.ts";

/** The content of a store: counted rows, all of them in tables. */
export interface WrittenRows {
  readonly rows: number;
  readonly valueBytes: number;
  readonly compression?: boolean;
}

const ROWS_PER_BATCH = 100;
/** Few rows, whose tables are compared before a store is opened. */
export const FEW: WrittenRows = { rows: 3000, valueBytes: 300, compression: false };
/** Many rows, whose tables are compared on a thread while the store is open. */
export const MANY: WrittenRows = {
  rows: ROWS_PER_BATCH * Math.ceil(MIN_BYTES_FOR_THREAD / ROWS_PER_BATCH / 4000),
  valueBytes: 4000,
  compression: false,
};

/** Closed LevelDB stores, each written once for all tests of the file. Every test gets a copy that it may damage. */
export interface WrittenStores {
  copy(target: string, content: WrittenRows): Promise<void>;
}

/** Registers the hooks that create and remove the stores. */
export function writtenStores(): WrittenStores {
  let dir = "";
  const written = new Map<string, Promise<string>>();
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "kv-written-"));
  });
  afterAll(async () => {
    await Promise.allSettled(written.values());
    await rm(dir, { recursive: true, force: true });
  });
  return {
    async copy(target, content) {
      const name = [content.rows, content.valueBytes, content.compression ?? true].join("-");
      const writing = written.get(name) ?? write(join(dir, name), content);
      written.set(name, writing);
      await cp(await writing, target, { recursive: true, mode: constants.COPYFILE_FICLONE });
    },
  };
}

async function write(dir: string, { rows, valueBytes, compression = true }: WrittenRows): Promise<string> {
  const store = await levelProvider({ writeBufferSize: 1024 * 1024, compression }).open(dir);
  for (let count = 0; count < rows; count += ROWS_PER_BATCH)
    await store.batch(countedBatch(count, ROWS_PER_BATCH, valueBytes));
  await store.compact();
  await store.close();
  return dir;
}
