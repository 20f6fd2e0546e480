import type { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { Logger } from "pino";
import type { IndexStore } from "../index/index-store.ts";
import { logFailure } from "../observe/failures.ts";
import type { OwnIndexOptions } from "./own-index.ts";
import { ownIndexDiffers } from "./own-index-errors.ts";
import { type RestoredCheckpoint, type Run, restoredDigests } from "./restored-digests.ts";

interface ComparisonParts {
  readonly options: OwnIndexOptions;
  readonly index: IndexStore;
  readonly logger: Logger;
}

/** What checkpoints have shown about an index of one's own. */
export class CheckpointComparison {
  readonly #parts: ComparisonParts;
  /** The last transaction that it had when a checkpoint showed that it may be wrong, and it was built anew. */
  #suspectUpTo: TxId | undefined;
  /** A failure that building it anew did not repair. */
  lasting: CairnError | undefined;

  constructor(parts: ComparisonParts) {
    this.#parts = parts;
  }

  /**
   * Compares the index in a checkpoint with one that is built anew. Returns `suspect` at the first difference, and the
   * {@link lasting} failure if a later checkpoint of this node differs again.
   */
  async verdict(restored: RestoredCheckpoint, run: Run): Promise<"suspect" | CairnError | undefined> {
    const { name, txId, node, isOfThisNode } = restored;
    const { options, index, logger } = this.#parts;
    const digests = await restoredDigests(options, restored, run);
    if (digests === undefined) return undefined;
    if (digests.restored === digests.built) {
      logger.debug(
        { index: options.name, checkpoint: name },
        "the index in the checkpoint is as it is built",
      );
      return undefined;
    }
    const found = { checkpoint: name, node, ...digests };
    if (this.#suspectUpTo !== undefined && isOfThisNode && txId > this.#suspectUpTo) {
      this.lasting = ownIndexDiffers("Its module makes different content of the same documents.", found);
      return this.lasting;
    }
    const isFirst = this.#suspectUpTo === undefined;
    const next = isFirst ? "The node builds it anew." : "The node has built it anew once.";
    logFailure(
      logger,
      "error",
      ownIndexDiffers(`The index ${options.name} is not as it is built.`, found),
      next,
    );
    this.#suspectUpTo ??= index.state.txId;
    return isFirst ? "suspect" : undefined;
  }
}
