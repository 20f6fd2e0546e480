import { lstat, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import type { NodeStatus } from "@cairn/client";
import {
  CairnError,
  diskError,
  isCairnError,
  type KvStore,
  levelProvider,
  makeFolder,
  moveFolder,
  namesIn,
  removeFolder,
  syncFolder,
} from "@cairn/kv";
import {
  countOrphans,
  type HeldTransactions,
  type QuarantinedIndex,
  readQuarantine,
  readRecord,
  renewNote,
  uncompared,
  writeNote,
} from "./quarantine.ts";

/** The only definition of the paths within a db-dir: folders, which belong to the node alone, and the file `holder`. */
export function dbDirLayout(dbDir: string) {
  const at = (name: string): string => path.join(dbDir, name);
  return {
    live: at("live"),
    staging: at("staging"),
    /** The folder of captures that are being saved as checkpoints, unless `checkpoint-dir` names another one. */
    capture: at("capture"),
    /** An index is rebuilt here for comparison. It is not below `staging`, because every join sweeps that folder. */
    rebuild: at("rebuild"),
    quarantine: at("quarantine"),
    /** The indexes of one's own, which were derived from the index in `live`. */
    own: at("own"),
    /** A LevelDB database that is held open by the process that uses the db-dir. */
    lock: at("lock"),
    /** The records of the stores to which the node has saved (witnesses). */
    stores: at("stores"),
    holder: at("holder.json"),
  } as const;
}

type DbDirLayout = ReturnType<typeof dbDirLayout>;

/** The newest are kept. Older folders are removed unless they hold transactions that the log has lost. */
const KEPT_QUARANTINES = 2;

/** Marks an index as distrusted. LevelDB ignores files with foreign names, and this one is moved with its index. */
const DISTRUSTED = "distrusted.json";

/**
 * The transactions of an index that is moved aside. With `holdsLost`, it holds or may hold some that the log has lost,
 * and is never removed. Only something that was read and shows that it holds none makes this false.
 */
export interface MovedContents {
  readonly holdsLost: boolean;
  readonly held?: HeldTransactions;
}

export type MovedAside = NodeStatus["join"]["movedAside"][number];

/**
 * A node's db-dir, which one process holds at a time. All folders are on one file system, so that a move is a
 * rename. The lock is a separate LevelDB database, because LevelDB's lock is released when the process that holds it
 * ends, no matter how. All methods may throw `DISK_FULL`, or `CONFIG_INVALID` if the folder cannot be used.
 */
export class IndexDirectory {
  readonly path: string;
  readonly layout: DbDirLayout;
  readonly #lock: KvStore;

  private constructor(dbDir: string, lock: KvStore) {
    this.path = dbDir;
    this.layout = dbDirLayout(dbDir);
    this.#lock = lock;
  }

  /** Creates the directory if it is missing. Throws `INDEX_LOCKED`, which names the process that holds it. */
  static async acquire(dbDir: string): Promise<IndexDirectory> {
    const layout = dbDirLayout(dbDir);
    const lock = await explained(dbDir, async () => {
      await makeFolder(dbDir);
      return await openLock(dbDir, layout);
    });
    try {
      const holder = JSON.stringify({ pid: process.pid, since: new Date().toISOString() });
      await explained(dbDir, async () => {
        await requireOneFileSystem(dbDir, layout);
        await writeFile(layout.holder, holder);
      });
    } catch (error) {
      await lock.close();
      throw error;
    }
    return new IndexDirectory(dbDir, lock);
  }

  /** Returns whether there is a local index, usable or not. */
  async hasLive(): Promise<boolean> {
    const { live } = this.layout;
    return await explained(live, async () => (await namesIn(live)).length > 0);
  }

  /** Removes what a killed process left behind: partial restores, or a rebuild. */
  async sweep(folder: "staging" | "rebuild"): Promise<void> {
    const place = this.layout[folder];
    await explained(place, async () => await removeFolder(place));
  }

  async countOrphans(logId?: string): Promise<number> {
    return countOrphans(await this.readQuarantine(), logId);
  }

  async uncompared(): Promise<string[]> {
    return uncompared(await this.readQuarantine());
  }

  async readQuarantine(): Promise<QuarantinedIndex[]> {
    const { quarantine } = this.layout;
    return await explained(quarantine, async () => await readQuarantine(quarantine));
  }

  async note(folder: string, { holdsLost, held }: MovedContents): Promise<void> {
    await explained(folder, async () => await renewNote(folder, { holdsLost, ...held }));
  }

  /** Records in the folder of the local index that the index must not be used, even after a restart. */
  async distrust({ code, message }: CairnError): Promise<void> {
    const { live } = this.layout;
    await explained(live, async () => {
      await writeFile(path.join(live, DISTRUSTED), JSON.stringify({ code, message }));
    });
  }

  /** Returns why the index must not be used, if the process ended after {@link distrust} and before it was moved. */
  async distrusted(): Promise<CairnError | undefined> {
    const { live } = this.layout;
    return await explained(live, async () => {
      if (!(await namesIn(live)).includes(DISTRUSTED)) return undefined;
      return new CairnError(
        "INDEX_CORRUPT",
        "A comparison of nodes found that the index does not match the log.",
        `Do nothing: the node builds a new index. ${DISTRUSTED} in the folder of the index contains the details.`,
      );
    });
  }

  /** Moves the local index to `quarantine/`, with a note that records the reason and the index's transactions. */
  async moveAside(reason: CairnError, contents: MovedContents): Promise<MovedAside> {
    return await explained(this.layout.quarantine, async () => await this.#moveAside(reason, contents));
  }

  async #moveAside(reason: CairnError, { holdsLost, held }: MovedContents): Promise<MovedAside> {
    const { live, quarantine, own } = this.layout;
    // What was derived from an index that is not right is not right either.
    await removeFolder(own);
    const at = new Date().toISOString();
    const target = path.join(quarantine, `${at.replaceAll(":", "-")}-${reason.code.toLowerCase()}`);
    await makeFolder(target);
    const { code, message } = reason;
    // The note is written first. Without it, the index would never be removed, and its transactions would be unknown.
    await writeNote(target, { code, message, at, holdsLost, ...held });
    // The note's folder is flushed before the move, so that after a power loss the index is in one of the two places.
    for (const folder of [target, quarantine, this.path]) await syncFolder(folder);
    await moveFolder(live, path.join(target, "live"));
    for (const folder of [target, this.path]) await syncFolder(folder);
    await this.#removeOldest();
    return { path: target, at, code, message };
  }

  /** Makes a complete index from `staging` or `rebuild` the local index. The previous one must have been moved aside. */
  async place(dir: string): Promise<void> {
    const { live } = this.layout;
    await explained(live, async () => {
      await rename(dir, live);
      await syncFolder(this.path);
    });
  }

  async release(): Promise<void> {
    const { holder } = this.layout;
    try {
      // The file is removed before the lock is released, because afterwards it may belong to another process.
      await explained(this.path, async () => await rm(holder, { force: true }));
    } finally {
      await this.#lock.close();
    }
  }

  async #removeOldest(): Promise<void> {
    const old = (await readQuarantine(this.layout.quarantine)).slice(0, -KEPT_QUARANTINES);
    for (const { folder, holdsLost } of old) {
      if (!holdsLost) await removeFolder(folder);
    }
  }
}

/** Errors of the disk or the folder are converted into errors that can be shown to users. */
async function explained<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw diskError(error, folder);
  }
}

/**
 * Rejects a db-dir if a folder into or out of which indexes are moved is a symbolic link (only the link would move) or
 * a volume (which cannot be renamed), before a damaged index must be moved aside.
 */
async function requireOneFileSystem(
  dbDir: string,
  { live, staging, rebuild, quarantine }: DbDirLayout,
): Promise<void> {
  const { dev } = await stat(dbDir);
  const present = new Set((await namesIn(dbDir)).map((name) => path.join(dbDir, name)));
  for (const folder of [live, staging, rebuild, quarantine]) {
    if (!present.has(folder)) continue;
    const found = await lstat(folder);
    const isLink = found.isSymbolicLink();
    if (found.dev === dev && !isLink) continue;
    const what = isLink ? "a symbolic link" : "a separate volume";
    throw new CairnError(
      "CONFIG_INVALID",
      `${folder} is ${what}.`,
      `Mount or link ${dbDir} as a whole, or configure another db-dir, because the node moves folders within it by renaming them.`,
    );
  }
}

async function openLock(dbDir: string, { lock, holder }: DbDirLayout): Promise<KvStore> {
  try {
    return await levelProvider().open(lock);
  } catch (error) {
    if (isCairnError(error, "INDEX_LOCKED")) throw await lockedError(dbDir, holder, error);
    if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
    // The lock contains no data, so it can be recreated after a crash.
    await rm(lock, { recursive: true, force: true });
    return await levelProvider().open(lock);
  }
}

async function lockedError(dbDir: string, holder: string, cause: CairnError): Promise<CairnError> {
  const pid = (await readRecord(holder))?.["pid"];
  const who = typeof pid === "number" ? `process ${pid}` : "another process";
  return new CairnError("INDEX_LOCKED", `The index directory ${dbDir} is in use by ${who}.`, {
    hint: "Stop that node, or configure a different db-dir (or CAIRN_INDEX_PATH) for this one.",
    cause,
  });
}
