import { readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import {
  CairnError,
  diskError,
  isCairnError,
  type KvStore,
  levelProvider,
  makeFolder,
  namesIn,
  syncFolder,
  systemErrorCode,
} from "@cairn/kv";
import { countOrphans, type HeldTransactions, readQuarantine, writeNote } from "./quarantine.ts";
import { requireOneFileSystem } from "./one-file-system.ts";

/** Newest folders of `quarantine/` that stay; older ones go unless they hold what the log lost. */
const KEPT_ASIDE = 2;

/** Between these, indexes are moved. */
const MOVED_FOLDERS = ["live", "staging", "rebuild", "quarantine"];

/** LevelDB leaves files of other names alone, and it moves with the index that it is about. */
const DISTRUSTED = "distrusted.json";

/** What an index holds that is moved aside. `holdsLost`: transactions that the log lost, so it is never removed. */
export interface MovedContents {
  readonly holdsLost: boolean;
  readonly held?: HeldTransactions;
}

/** An index that was moved aside: where it lies now and why. */
export interface MovedAside {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

/**
 * A node's db-dir: `live/` (the index), `staging/` (what is being restored), `capture/` (what is being checkpointed),
 * `quarantine/` (indexes that could not be used), all on one file system, so that every move is a rename. Held by one process at a
 * time: `lock/` is a LevelDB of its own, because the lock that LevelDB takes goes away with its process, however that ends.
 */
export class IndexDirectory {
  readonly path: string;
  readonly live: string;
  readonly staging: string;
  readonly quarantine: string;
  readonly #lock: KvStore;

  private constructor(dbDir: string, lock: KvStore) {
    this.path = dbDir;
    this.live = path.join(dbDir, "live");
    this.staging = path.join(dbDir, "staging");
    this.quarantine = path.join(dbDir, "quarantine");
    this.#lock = lock;
  }

  /**
   * Takes the directory for this process, making it when it is missing. `INDEX_LOCKED` names the process that has it. Every method's
   * errors: `DISK_FULL`, `CONFIG_INVALID` where the folder cannot be used.
   */
  static async acquire(dbDir: string): Promise<IndexDirectory> {
    const lock = await explained(dbDir, async () => {
      await makeFolder(dbDir);
      return await openLock(dbDir);
    });
    try {
      const holder = JSON.stringify({ pid: process.pid, since: new Date().toISOString() });
      await explained(dbDir, async () => {
        await requireOneFileSystem(dbDir, MOVED_FOLDERS);
        await writeFile(holderFile(dbDir), holder);
      });
    } catch (error) {
      await lock.close();
      throw error;
    }
    return new IndexDirectory(dbDir, lock);
  }

  /** Whether there is a local index, usable or not. */
  async hasLive(): Promise<boolean> {
    return await explained(this.live, async () => (await namesIn(this.live)).length > 0);
  }

  /** Removes what a killed process left half restored. */
  async sweepStaging(): Promise<void> {
    await explained(this.staging, async () => await rm(this.staging, { recursive: true, force: true }));
  }

  /** How many transactions are known only to indexes that were moved aside. */
  async countOrphans(): Promise<number> {
    return await explained(this.quarantine, async () => countOrphans(await readQuarantine(this.quarantine)));
  }

  /** Remembers beside the local index's files, also for the next start, that it must not be used. */
  async distrust({ code, message }: CairnError): Promise<void> {
    await explained(this.live, async () => {
      await writeFile(path.join(this.live, DISTRUSTED), JSON.stringify({ code, message }));
    });
  }

  /** Why the local index must not be used: {@link distrust} was told so, and the process ended before it was moved aside. */
  async distrusted(): Promise<CairnError | undefined> {
    return await explained(this.live, async () => {
      if (!(await namesIn(this.live)).includes(DISTRUSTED)) return undefined;
      return new CairnError(
        "INDEX_CORRUPT",
        "The index was found not to be the log's, when nodes were compared.",
        {
          hint: `${DISTRUSTED} beside its files says more. The node builds another one.`,
        },
      );
    });
  }

  /** Moves the local index to `quarantine/` with a note that says why, and what it holds. Answers where it lies. */
  async moveAside(reason: CairnError, contents: MovedContents): Promise<MovedAside> {
    return await explained(this.quarantine, async () => await this.#moveAside(reason, contents));
  }

  async #moveAside(reason: CairnError, { holdsLost, held }: MovedContents): Promise<MovedAside> {
    const stamp = new Date().toISOString().replaceAll(":", "-");
    const target = path.join(this.quarantine, `${stamp}-${reason.code.toLowerCase()}`);
    await makeFolder(target);
    const { code, message } = reason;
    // The note first: an index without one would be taken for one that may go.
    await writeNote(target, { code, message, at: new Date().toISOString(), holdsLost, ...held });
    // And the folder before what is moved into it, so that after a power loss the index is in one place or the other.
    for (const folder of [target, this.quarantine, this.path]) await syncFolder(folder);
    await rename(this.live, path.join(target, "live"));
    for (const folder of [target, this.path]) await syncFolder(folder);
    await this.#forgetOldest();
    return { path: target, code, message };
  }

  /** Gives an index that lies whole in staging the place of the local one, which was moved aside. */
  async place(dir: string): Promise<void> {
    await explained(this.live, async () => {
      await rename(dir, this.live);
      await syncFolder(this.path);
    });
  }

  async release(): Promise<void> {
    try {
      // While it is held: afterwards the file may be another process's.
      await explained(this.path, async () => await rm(holderFile(this.path), { force: true }));
    } finally {
      await this.#lock.close();
    }
  }

  async #forgetOldest(): Promise<void> {
    for (const { folder, holdsLost } of (await readQuarantine(this.quarantine)).slice(0, -KEPT_ASIDE)) {
      if (!holdsLost) await rm(folder, { recursive: true, force: true });
    }
  }
}

/** What `work` gives; where the disk or the folder refuses, an error that users can be shown. */
async function explained<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw diskError(error, folder);
  }
}

async function openLock(dbDir: string): Promise<KvStore> {
  const folder = path.join(dbDir, "lock");
  try {
    return await levelProvider().open(folder);
  } catch (error) {
    if (isCairnError(error, "INDEX_LOCKED")) throw await lockedError(dbDir, error);
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    // It holds no data: what a crash left of it is made anew.
    await rm(folder, { recursive: true, force: true });
    return await levelProvider().open(folder);
  }
}

async function lockedError(dbDir: string, cause: CairnError): Promise<CairnError> {
  const holder = await readHolder(dbDir);
  const who = holder === undefined ? "another process" : `process ${holder}`;
  return new CairnError("INDEX_LOCKED", `The index directory ${dbDir} is in use by ${who}.`, {
    hint: "Stop that node, or give this one a db-dir (or CAIRN_INDEX_PATH) of its own.",
    cause,
  });
}

async function readHolder(dbDir: string): Promise<number | undefined> {
  try {
    const { pid } = JSON.parse(await readFile(holderFile(dbDir), "utf8")) as { pid?: unknown };
    return typeof pid === "number" ? pid : undefined;
  } catch (error) {
    // It is only told to a person; a holder that is just starting has not written it yet.
    if (error instanceof SyntaxError || systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
}

function holderFile(dbDir: string): string {
  return path.join(dbDir, "holder.json");
}
