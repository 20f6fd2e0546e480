import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

/** A checkpoint, according to its manifest. */
export interface StoredCheckpoint {
  readonly name: string;
  readonly indexVersion: number;
  readonly txId: number;
  readonly takenAt: string;
}

interface ManifestParts {
  readonly format: { readonly index: number };
  readonly txId: number;
  readonly takenAt: string;
}

const MANIFEST = /^(checkpoint-.*Z-[0-9a-f]{8})\.json$/;

/**
 * Returns the reason why retention must not have removed `gone` while only `present` remained; undefined if the removal
 * was correct. Each version counts only its own checkpoints and keeps the newest `retain`.
 */
export function wrongRemoval(
  gone: StoredCheckpoint,
  present: readonly StoredCheckpoint[],
  retain: number,
): string | undefined {
  const newer = present.filter(
    ({ indexVersion, txId, takenAt }) =>
      indexVersion === gone.indexVersion &&
      (txId > gone.txId || (txId === gone.txId && takenAt > gone.takenAt)),
  );
  if (newer.length >= retain) return undefined;
  return (
    `${gone.name} of index version ${gone.indexVersion} was removed, with only ${newer.length} newer ones of that version ` +
    `left of ${retain} that must stay`
  );
}

/** All checkpoints that polling has seen in a folder. */
export class StoreHistory {
  readonly #folder: string;
  readonly #retain: number;
  readonly #seen = new Map<string, StoredCheckpoint>();
  #present = new Map<string, StoredCheckpoint>();
  #polling: Promise<string[]> = Promise.resolve([]);

  constructor(folder: string, retain: number) {
    this.#folder = folder;
    this.#retain = retain;
  }

  get seen(): ReadonlyMap<string, StoredCheckpoint> {
    return this.#seen;
  }

  /** The checkpoints in the folder at the last poll. */
  get present(): readonly StoredCheckpoint[] {
    return [...this.#present.values()];
  }

  /**
   * Reads the folder, and returns the checkpoints that were wrongly removed since the last poll. Concurrent calls run
   * one after another.
   */
  async poll(): Promise<string[]> {
    this.#polling = this.#polling.then(() => this.#poll());
    return await this.#polling;
  }

  async #poll(): Promise<string[]> {
    const before = this.#present;
    let present = await this.#list();
    // A listing that lacks a removed checkpoint may also lack one that was added just before.
    if ([...before.keys()].some((name) => !present.has(name))) present = await this.#list();
    this.#present = present;
    return [...before.values()]
      .filter(({ name }) => !present.has(name))
      .map((one) => wrongRemoval(one, this.present, this.#retain))
      .filter((problem) => problem !== undefined);
  }

  async #list(): Promise<Map<string, StoredCheckpoint>> {
    const names = await readdir(this.#folder).catch(() => []);
    const present = new Map<string, StoredCheckpoint>();
    for (const file of names) {
      const name = MANIFEST.exec(file)?.[1];
      if (name === undefined) continue;
      const saved = this.#seen.get(name) ?? (await this.#read(name));
      if (saved === undefined) continue;
      this.#seen.set(name, saved);
      present.set(name, saved);
    }
    return present;
  }

  async #read(name: string): Promise<StoredCheckpoint | undefined> {
    try {
      const text = await readFile(path.join(this.#folder, `${name}.json`), "utf8");
      const { format, txId, takenAt } = JSON.parse(text) as ManifestParts;
      return { name, indexVersion: format.index, txId, takenAt };
    } catch (error) {
      // The checkpoint was swept after the listing, so no node will restore it.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
}
