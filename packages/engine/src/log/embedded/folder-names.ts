import { statSync } from "node:fs";
import { CairnError, type ClaimedDirectory, lacksLiveFiles, syncFolder, systemClock } from "@cairn/kv";

/** The time within which two changes may get the same timestamp from the file system (ms). */
const TIMESTAMP_GRANULARITY_MS = 50;

/**
 * The names in the folder of an open database. LevelDB begins a write-ahead log about every 4 MB and flushes its content;
 * no file system must flush its name. Whatever else changes a name may leave what is written without one.
 */
export class FolderNames {
  readonly #path: string;
  readonly #isThere: () => Promise<boolean>;
  /** The folder's identity and time at the last call, and after the last flush that need not be repeated. */
  #seen = "";
  #flushed = "";

  constructor(path: string, { isThere }: Pick<ClaimedDirectory, "isThere">) {
    this.#path = path;
    this.#isThere = isThere;
  }

  /**
   * If a name has changed since the last call, flushes the folder, and throws `LOG_UNREACHABLE` unless the files are
   * still those that were opened. What was written before the call is then found by whoever opens the log next.
   */
  async flush(): Promise<void> {
    // This is synchronous, because the folder is cached and the thread pool would take ten times as long.
    const { dev, ino, mtimeMs } = statSync(this.#path, { throwIfNoEntry: false }) ?? {};
    if (mtimeMs === undefined) throw this.#replaced();
    const seen = `${dev}:${ino} ${mtimeMs}`;
    if (seen === this.#flushed) return;
    const isOld = Math.abs(systemClock.now() - mtimeMs) > TIMESTAMP_GRANULARITY_MS;
    await syncFolder(this.#path);
    await this.check({ isNew: seen !== this.#seen });
    this.#seen = seen;
    if (isOld) this.#flushed = seen;
  }

  /** Throws `LOG_UNREACHABLE` unless the files are still those that were opened. `isNew`: also looks for missing ones. */
  async check({ isNew = true } = {}): Promise<void> {
    if (!(await this.#isThere()) || (isNew && (await lacksLiveFiles(this.#path)))) throw this.#replaced();
  }

  /** What was written to the open files may not be found by a restart. */
  #replaced(): CairnError {
    return new CairnError(
      "LOG_UNREACHABLE",
      `The folder of the log ${this.#path}, or files in it, were moved, removed or replaced while the log was open, so it acknowledges no transactions.`,
      "Find out who did this. If the folder was moved, move it back: the node then continues by itself. Otherwise stop the node, put the folder back as it was, and start the node again.",
    );
  }
}
