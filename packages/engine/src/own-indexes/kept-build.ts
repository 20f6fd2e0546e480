import { removeFolder, Semaphore, systemClock } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { CompleteBuild, IndexFolders, OwnPurge } from "./index-folders.ts";
import type { OwnIndexOptions } from "./own-index.ts";

/** The complete build of an index of one's own, as long as the node uses it. */
export class KeptBuild {
  readonly folders: IndexFolders;
  /** Whether the build is known to be of this history, and may answer queries. */
  isServed = false;
  /** Whether a thread works on its files, or is about to: then nothing but that thread may end it. */
  isHeld = false;
  readonly #release: (dir: string) => Promise<void>;
  /** A checkpoint and the purge, for example, may note at the same time what they have purged. */
  readonly #changes = new Semaphore();
  #complete: CompleteBuild | undefined;

  /** `release` ends the processes that have files in a folder open. */
  constructor(folders: IndexFolders, release: (dir: string) => Promise<void>) {
    this.folders = folders;
    this.#release = release;
  }

  get served(): CompleteBuild | undefined {
    return this.isServed ? this.#complete : undefined;
  }

  get dir(): string | undefined {
    return this.#complete?.dir;
  }

  get purged(): OwnPurge | undefined {
    return this.#complete?.purged;
  }

  /** Returns the complete build, if any, and removes everything else. */
  async find(): Promise<CompleteBuild | undefined> {
    return await this.#changes.run(async () => {
      this.#complete ??= await this.folders.complete();
      await this.folders.removeOthers(this.#complete?.dir);
      return this.#complete;
    });
  }

  async replace(build: CompleteBuild): Promise<void> {
    await this.#changes.run(async () => {
      const before = this.#complete;
      await this.folders.publish(build);
      this.#complete = build;
      this.isServed = true;
      if (before !== undefined) await this.#release(before.dir);
      await this.folders.removeOthers(build.dir);
    });
  }

  /** Removes the build in `dir` unless, when its turn comes, another one has taken its place or it is held. */
  async leave(dir = this.dir): Promise<void> {
    await this.#changes.run(async () => {
      if (dir === undefined || dir !== this.dir || this.isHeld) return;
      this.#complete = undefined;
      this.isServed = false;
      await this.#release(dir);
      await removeFolder(dir);
    });
  }

  async notePurged(txId: TxId): Promise<void> {
    await this.#changes.run(async () => {
      if (this.#complete === undefined) return;
      this.#complete = { ...this.#complete, purged: { txId, at: systemClock.now() } };
      await this.folders.note(this.#complete);
    });
  }
}

/** Returns whether a build is of the configured version, and has the documents of the configured buckets. */
export function isBuildOf({ version, buckets }: OwnIndexOptions, build: CompleteBuild): boolean {
  return build.version === version && sortedJson(build.buckets) === sortedJson(buckets);
}

function sortedJson(names: readonly string[] | undefined): string | undefined {
  return names && JSON.stringify(names.toSorted());
}
