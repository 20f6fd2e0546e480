import { readFile, writeFile } from "node:fs/promises";
import { captureFileSystem, type CaptureFileSystem } from "../../src/capture/live-capture.ts";
import { countedBatch } from "../../testing/counted-rows.ts";
import type { TestDirectory } from "../support/test-directory.ts";

/** Returns an error as node:fs throws it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** Returns the real file system with some calls replaced. */
export function withCalls(calls: Partial<CaptureFileSystem>): CaptureFileSystem {
  return { ...captureFileSystem, ...calls };
}

/** Returns the real file system, except that the second call of a kind finds no space. */
export function fullAtSecond(call: "link" | "copy" | "write"): CaptureFileSystem {
  let calls = 0;
  const limited =
    <A extends unknown[]>(real: (...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> => {
      calls += 1;
      if (calls > 1) throw systemError("ENOSPC");
      await real(...args);
    };
  if (call === "link") return withCalls({ link: limited(captureFileSystem.link) });
  if (call === "write") return withCalls({ write: limited(captureFileSystem.write) });
  return withCalls({
    link: () => Promise.reject(systemError("EXDEV")),
    copy: limited(captureFileSystem.copy),
  });
}

/**
 * Creates a database in the state that it has on disk while a memtable waits to be flushed: its rows are in a full log
 * and in the next one.
 */
export async function twoLogs(directory: TestDirectory, name: string): Promise<void> {
  const store = await directory.open(`${name}, one log`, {});
  const log = directory.path(`${name}, one log`, "000003.log");
  await store.batch(countedBatch(0, 10, 100));
  const first = await readFile(log);
  await store.batch(countedBatch(10, 10, 100));
  const both = await readFile(log);
  await store.capture(directory.path(name));
  await writeFile(directory.path(name, "000003.log"), first);
  await writeFile(directory.path(name, "000004.log"), both.subarray(first.length));
}
