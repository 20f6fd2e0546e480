import { systemClock } from "@cairn/checkpoint";
import { statSync } from "node:fs";
import { syncFolder } from "@cairn/kv";

/** The time within which two changes may get the same timestamp from the file system (ms). */
const TIMESTAMP_GRANULARITY_MS = 50;

/** LevelDB begins a write-ahead log about every 4 MB and flushes its content; no file system must flush its name. */
export class FolderNames {
  readonly #path: string;
  #flushed: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Flushes the folder if a name has changed since the last flush. */
  async flush(): Promise<void> {
    // This is synchronous, because the folder is cached and the thread pool would take ten times as long.
    const { mtimeMs } = statSync(this.#path);
    if (mtimeMs === this.#flushed) return;
    const isOld = Math.abs(systemClock.now() - mtimeMs) > TIMESTAMP_GRANULARITY_MS;
    await syncFolder(this.#path);
    this.#flushed = isOld ? mtimeMs : undefined;
  }
}
