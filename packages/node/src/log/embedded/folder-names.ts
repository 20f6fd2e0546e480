import { statSync } from "node:fs";
import { syncFolder } from "@cairn/kv";

/** A file system may give two changes the same time when so little lies between them (ms). */
const SAME_TIME_MS = 50;

/**
 * Knows whether the names in a log's folder would survive a power loss. LevelDB goes on in a new write-ahead log about every 4 MB and flushes
 * only its content: with most file systems the name comes along, but nothing promises it.
 */
export class FolderNames {
  readonly #path: string;
  #flushed: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Flushes the names unless none changed since. */
  async flush(): Promise<void> {
    // Not by a thread: the folder is in memory, and the way to a thread and back takes ten times as long.
    const { mtimeMs } = statSync(this.#path);
    if (mtimeMs === this.#flushed) return;
    const isOld = Math.abs(Date.now() - mtimeMs) > SAME_TIME_MS;
    await syncFolder(this.#path);
    this.#flushed = isOld ? mtimeMs : undefined;
  }
}
