import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

/** A checkpoint as its manifest says. */
export interface Saved {
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
 * Why `gone` may not have been removed by retention while `present` was all there was beside it: a version's checkpoints count for that
 * version alone, and its newest `retain` stay. Undefined: it may.
 */
export function wrongRemoval(gone: Saved, present: readonly Saved[], retain: number): string | undefined {
  const newer = present.filter(
    ({ indexVersion, txId, takenAt }) =>
      indexVersion === gone.indexVersion &&
      (txId > gone.txId || (txId === gone.txId && takenAt > gone.takenAt)),
  );
  if (newer.length >= retain) return undefined;
  return (
    `${gone.name} of index version ${gone.indexVersion} was removed, with only ${newer.length} newer ones of that version ` +
    `beside it, of ${retain} that stay`
  );
}

/** Everything that ever lay in a folder of checkpoints, as far as somebody looked in time. */
export class StoreHistory {
  readonly #folder: string;
  readonly #retain: number;
  readonly #seen = new Map<string, Saved>();
  #present = new Map<string, Saved>();
  #looking: Promise<string[]> = Promise.resolve([]);

  constructor(folder: string, retain: number) {
    this.#folder = folder;
    this.#retain = retain;
  }

  get seen(): ReadonlyMap<string, Saved> {
    return this.#seen;
  }

  /** What lies there now, as of the last look. */
  get present(): readonly Saved[] {
    return [...this.#present.values()];
  }

  /** Looks; answers what was wrongly removed since the last look. One look at a time. */
  async look(): Promise<string[]> {
    this.#looking = this.#looking.then(() => this.#look());
    return await this.#looking;
  }

  async #look(): Promise<string[]> {
    const before = this.#present;
    let present = await this.#list();
    // A listing that saw something go need not have seen what came just before.
    if ([...before.keys()].some((name) => !present.has(name))) present = await this.#list();
    this.#present = present;
    return [...before.values()]
      .filter(({ name }) => !present.has(name))
      .map((one) => wrongRemoval(one, this.present, this.#retain))
      .filter((problem) => problem !== undefined);
  }

  async #list(): Promise<Map<string, Saved>> {
    const names = await readdir(this.#folder).catch(() => []);
    const present = new Map<string, Saved>();
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

  async #read(name: string): Promise<Saved | undefined> {
    try {
      const text = await readFile(path.join(this.#folder, `${name}.json`), "utf8");
      const { format, txId, takenAt } = JSON.parse(text) as ManifestParts;
      return { name, indexVersion: format.index, txId, takenAt };
    } catch (error) {
      // Swept between the listing and now: never restored by anybody who looks later.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
}
