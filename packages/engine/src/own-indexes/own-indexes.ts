import { CairnError, namesIn, removeFolder } from "@cairn/kv";
import type { OwnIndexStatus } from "@cairn/client";
import type { Logger } from "pino";
import path from "node:path";
import { asCairnError, logFailure } from "../observe/failures.ts";
import type { OwnPurge } from "./index-folders.ts";
import { folderForCapture, requireArchivable } from "./checkpointed-files.ts";
import { KeptIndex, type KeptIndexParts } from "./kept-index.ts";
import type { OwnIndexOptions } from "./own-index.ts";
import { ownFilesUnusable } from "./own-index-errors.ts";
import type { RestoredCheckpoint } from "./checkpoint-comparison.ts";

interface OwnIndexesParts extends Omit<KeptIndexParts, "options" | "dir"> {
  readonly indexes: readonly OwnIndexOptions[];
  /** The folder of all indexes of one's own. */
  readonly dir: string;
}

/** All indexes of one's own, as long as the node follows its log with one index. */
export class OwnIndexes {
  readonly #kept: readonly KeptIndex[];
  readonly options: readonly OwnIndexOptions[];
  readonly #logger: Logger;
  readonly #removing: Promise<void>;

  constructor({ indexes, dir, ...parts }: OwnIndexesParts) {
    this.options = indexes;
    this.#logger = parts.logger;
    this.#kept = indexes.map(
      (options) => new KeptIndex({ ...parts, options, dir: path.join(dir, options.name) }),
    );
    for (const kept of this.#kept) kept.start();
    this.#removing = this.#removeOthers(dir);
  }

  get status(): readonly OwnIndexStatus[] {
    return this.#kept.map(({ status }) => status);
  }

  /** Resolves once those that the node waits for are live or have failed. */
  async settled(): Promise<void> {
    const waits = this.#kept.filter(({ options }) => options.ready === "waits");
    await Promise.all(waits.map(({ settled }) => settled));
  }

  /** What was removed from the files of all indexes. */
  get purged(): OwnPurge {
    const all = this.#kept.flatMap((kept) => kept.purged ?? []);
    return {
      txId: Math.min(...all.map(({ txId }) => txId)),
      at: Math.max(0, ...all.map(({ at }) => at)),
    };
  }

  /** Throws `NOT_FOUND`. */
  named(name: string): KeptIndex {
    const { name: known } = indexNamed(this.options, name);
    return this.#kept.find((kept) => kept.name === known) as KeptIndex;
  }

  /**
   * Copies the files of all indexes that checkpoints contain into folders in `into`, none newer than the node's
   * index. What cannot be copied is left out: it is built again where the checkpoint is restored.
   */
  async capture(into: string): Promise<void> {
    for (const kept of this.#kept) {
      if (!kept.options.checkpoint) continue;
      const dir = folderForCapture(into, kept.options);
      try {
        if (await kept.capture(dir)) {
          await requireArchivable(dir);
          continue;
        }
        this.#logger.info(
          { index: kept.name },
          "the checkpoint does not contain the index, which is not live, or cannot be copied",
        );
      } catch (error) {
        const failure = ownFilesUnusable(`The index ${kept.name} could not be captured`, error);
        logFailure(this.#logger, "warn", failure, "The checkpoint does not contain it.");
      }
      await removeFolder(dir);
    }
  }

  /**
   * Compares the indexes in a restored checkpoint with ones that are built from its copy of the node's index. What this
   * finds concerns the indexes alone, not the checkpoint. Throws only the reason of the signal.
   */
  async compare(restored: RestoredCheckpoint, signal: AbortSignal): Promise<void> {
    for (const kept of this.#kept) {
      try {
        await kept.compare(restored, signal);
      } catch (error) {
        signal.throwIfAborted();
        const what = `The index ${kept.name} in ${restored.name} could not be compared with one built anew`;
        logFailure(this.#logger, "warn", ownFilesUnusable(what, error), "The checkpoint is verified.");
      }
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#kept.map((kept) => kept.stop()), this.#removing]);
  }

  /** Removes the files of indexes that are no longer configured: they would keep what is evicted. */
  async #removeOthers(dir: string): Promise<void> {
    const names = this.options.map(({ name }) => name);
    try {
      for (const name of await namesIn(dir))
        if (!names.includes(name)) await removeFolder(path.join(dir, name));
    } catch (error) {
      logFailure(this.#logger, "warn", asCairnError(error), `Files in ${dir} are of no index, and remain.`);
    }
  }
}

/** Returns the options of an index. Throws `NOT_FOUND`. */
export function indexNamed(indexes: readonly OwnIndexOptions[] = [], name: string): OwnIndexOptions {
  const found = indexes.find((index) => index.name === name);
  if (found !== undefined) return found;
  const names = indexes.map((index) => index.name);
  const hint =
    names.length === 0
      ? "This node has none. Add it to cairn/indexes of the node's configuration, and restart the node."
      : `The node has ${names.join(", ")}.`;
  throw new CairnError("NOT_FOUND", `There is no index ${JSON.stringify(name)} of this node's own.`, hint);
}
