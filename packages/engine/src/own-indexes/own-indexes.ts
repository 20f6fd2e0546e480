import { CairnError, namesIn, removeFolder } from "@cairn/kv";
import type { OwnIndexStatus, TxId } from "@cairn/client";
import { didYouMean, nearestName } from "@cairn/text";
import type { Logger } from "pino";
import path from "node:path";
import { asCairnError, logFailure } from "../observe/failures.ts";
import type { OwnPurge } from "./index-folders.ts";
import { folderForCapture, requireArchivable } from "./checkpointed-files.ts";
import { KeptIndex, type KeptIndexParts } from "./kept-index.ts";
import type { OwnIndexOptions, ServedIndex } from "./own-index.ts";
import { ownFilesUnusable } from "./own-index-errors.ts";
import type { RestoredCheckpoint } from "./restored-digests.ts";

export interface OwnIndexesParts extends Omit<KeptIndexParts, "options" | "dir"> {
  readonly indexes: readonly OwnIndexOptions[];
  /** The folder of all indexes of one's own. */
  readonly dir: string;
}

/** The own indexes of a node, as queries need them. */
export interface OwnIndexReads {
  /** The newest transaction that an index may have been given. */
  readonly newest: TxId;
  /** Throws `NOT_READY` while the index is built for the first time, and `OWN_INDEX_FAILED`. */
  served(name: string): ServedIndex;
  /** Leaves files that a query has found to be damaged, and returns what the query is told. */
  damaged(name: string, served: ServedIndex, error: CairnError): CairnError;
  /** Waits until an index contains everything up to a transaction. Throws `TX_TIMEOUT`. */
  reached(name: string, txId: TxId, timeoutMs: number): Promise<void>;
}

/** All indexes of one's own, as long as the node follows its log with one index. */
export class OwnIndexes {
  readonly #kept: readonly KeptIndex[];
  readonly #waits: readonly KeptIndex[];
  readonly #options: readonly OwnIndexOptions[];
  readonly #logger: Logger;
  readonly #index: OwnIndexesParts["index"];
  readonly #removing: Promise<void>;

  constructor({ indexes, dir, ...parts }: OwnIndexesParts) {
    this.#options = indexes;
    this.#logger = parts.logger;
    this.#index = parts.index;
    this.#kept = indexes.map((options) => {
      return new KeptIndex({ ...parts, options, dir: path.join(dir, options.name) });
    });
    this.#waits = this.#kept.filter((_, at) => indexes[at]?.ready === "waits");
    for (const kept of this.#kept) kept.start();
    this.#removing = this.#removeOthers(dir);
  }

  get status(): readonly OwnIndexStatus[] {
    return this.#kept.map(({ status }) => status);
  }

  get newest(): TxId {
    return this.#index.state.txId;
  }

  /** Resolves once those that the node waits for are live or have failed. */
  async settled(): Promise<void> {
    await Promise.all(this.#waits.map(({ settled }) => settled));
  }

  /** Returns the build that answers queries. Throws `NOT_FOUND`, `OWN_INDEX_FAILED`, and `NOT_READY` before the first. */
  served(name: string): ServedIndex {
    return this.#named(name).served();
  }

  /** What was removed from the files of all indexes. */
  get purged(): OwnPurge {
    const all = this.#kept.flatMap((kept) => kept.purged ?? []);
    return {
      txId: Math.min(...all.map(({ txId }) => txId)),
      at: Math.max(0, ...all.map(({ at }) => at)),
    };
  }

  /** The buckets whose documents an index may return; all if undefined. */
  buckets(name: string): readonly string[] | undefined {
    return this.#named(name).buckets;
  }

  /** Leaves files that a query has found to be damaged, and returns what the query is told. */
  damaged(name: string, served: ServedIndex, error: CairnError): CairnError {
    return this.#named(name).damaged(served, error);
  }

  /** Waits until an index contains `txId`. Throws `TX_TIMEOUT`. */
  async reached(name: string, txId: TxId, timeoutMs: number): Promise<void> {
    await this.#named(name).position.reached(txId, timeoutMs);
  }

  /**
   * Copies the files of all indexes that checkpoints contain into folders in `into`, none newer than the node's
   * index. What cannot be copied is left out: it is built again where the checkpoint is restored.
   */
  async capture(into: string): Promise<void> {
    for (const [at, kept] of this.#kept.entries()) {
      const options = this.#options[at];
      if (options?.checkpoint !== true) continue;
      const dir = folderForCapture(into, options);
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

  /** The indexes as they are configured. */
  get options(): readonly OwnIndexOptions[] {
    return this.#options;
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
    const names = this.#options.map(({ name }) => name);
    try {
      for (const name of await namesIn(dir))
        if (!names.includes(name)) await removeFolder(path.join(dir, name));
    } catch (error) {
      logFailure(this.#logger, "warn", asCairnError(error), `Files in ${dir} are of no index, and remain.`);
    }
  }

  #named(name: string): KeptIndex {
    const { name: known } = indexNamed(this.#options, name);
    return this.#kept.find((kept) => kept.name === known) as KeptIndex;
  }
}

/** Returns the options of an index. Throws `NOT_FOUND`. */
export function indexNamed(indexes: readonly OwnIndexOptions[] = [], name: string): OwnIndexOptions {
  const found = indexes.find((index) => index.name === name);
  if (found !== undefined) return found;
  const names = indexes.map((index) => index.name);
  const near = nearestName(String(name), names);
  const hint =
    names.length === 0
      ? "This node has none. Add it to cairn/indexes of the node's configuration, and restart the node."
      : near === undefined
        ? `The node has ${names.join(", ")}.`
        : didYouMean(near);
  throw new CairnError("NOT_FOUND", `There is no index ${JSON.stringify(name)} of this node's own.`, hint);
}
