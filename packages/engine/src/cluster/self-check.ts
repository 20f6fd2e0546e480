import { isDeepStrictEqual } from "node:util";
import { CairnError, Semaphore, unlessFailed } from "@cairn/kv";
import type { Logger } from "pino";
import type { Phase, TxId } from "@cairn/client";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { notReady } from "../api/not-ready.ts";
import type { System } from "../api/system.ts";
import type { IndexPosition } from "../index/index-position.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { CheckOutcome, OnWork } from "./peer-server.ts";
import { rebuildIndex } from "../replay/rebuild-index.ts";

/** The view of this node that comparisons use: its current index and log, and its reactions to a wrong index. */
export interface ComparedNode {
  readonly phase: Phase;
  readonly failure: CairnError | undefined;
  readonly log: TxLog | undefined;
  readonly index: IndexStore | undefined;
  readonly position: Pick<IndexPosition, "reached">;
  /** True if the index was found to agree with the log and has not been put in doubt since then. */
  readonly agrees: boolean;
  suspect(index: IndexStore, error: unknown): void;
  /** `live` is the replacement's folder, if any. Returns false if there is none, or if the index was left before. */
  replace(index: IndexStore, error: CairnError, live: string | undefined): boolean;
  /** Permanently stops serving an index, because it is impossible to decide whether the index is right. */
  halt(index: IndexStore, error: CairnError): void;
}

export class SelfCheck {
  readonly #system: System;
  readonly #life: ComparedNode;
  readonly #logger: Logger;
  readonly #directory: IndexDirectory;
  /** This semaphore is held during a rebuild, because rebuilds share a folder. */
  readonly #rebuilding = new Semaphore();

  constructor(system: System, directory: IndexDirectory, life: ComparedNode, logger: Logger) {
    this.#system = system;
    this.#life = life;
    this.#logger = logger;
    this.#directory = directory;
  }

  /** Returns the digest at an indexed transaction. Meanwhile, the node continues to apply the log. */
  async digestAt(log: string, txId: TxId): Promise<{ txId: TxId; digest: string }> {
    const { index, agrees } = this.#life;
    if (index === undefined || !agrees) throw notReady(this.#life);
    const { id } = index.state.log;
    if (id !== log) {
      const message = `The node's index belongs to the log ${id}, not to ${log}.`;
      throw new CairnError("LOG_DIFFERENT", message, "Check the log's address and name on both nodes.");
    }
    try {
      const digest = await index.digest(txId);
      if (digest === undefined) throw notReady(this.#life);
      return digest;
    } catch (error) {
      this.#life.suspect(index, error);
      throw error;
    }
  }

  /**
   * Rebuilds the index from the log up to a transaction (or from a checkpoint at or before `agreeAt`, if the log lacks
   * its beginning), and compares. If they differ, the node immediately leaves its index for the rebuilt one.
   */
  async check(
    log: string,
    txId: TxId,
    signal: AbortSignal,
    onWork: OnWork,
    agreeAt?: TxId,
  ): Promise<CheckOutcome> {
    return await this.#rebuilding.run(async () => {
      signal.throwIfAborted();
      const { index, log: txLog, agrees: isInUse } = this.#life;
      // While an index is being left, its replacement may be in the folder of rebuilds.
      if (index === undefined || txLog === undefined || !isInUse) throw notReady(this.#life);
      const { nodeId, kvProvider } = this.#system;
      // The chains are read before the rebuild, because a rebuild takes a long time and only the newest chains are known.
      const own = await index.chainsAt(txId);
      let placed = false;
      try {
        const rebuilt = await rebuildIndex({
          system: this.#system,
          log: txLog,
          dir: this.#directory.layout.rebuild,
          txId,
          exceptNode: nodeId,
          agreeAt,
          signal,
          onProgress: onWork,
        });
        const isSamePast = own === undefined || isDeepStrictEqual(own, rebuilt.chains);
        // If the history no longer covers the transaction, only the chains are compared.
        const forgotten = own === undefined ? [] : "CONFLICT";
        const { digest } = await unlessFailed(this.digestAt(log, txId), forgotten, rebuilt);
        const agrees = digest === rebuilt.digest && isSamePast;
        const outcome = { txId, digest, rebuilt: rebuilt.digest, basis: rebuilt.basis, agrees };
        if (agrees) {
          this.#logger.info({ txId, digest, basis: rebuilt.basis }, "the index agrees with a rebuild");
          return outcome;
        }
        const error = wrongIndex(outcome);
        // If the process ends before the index has been moved aside, the next run must not serve this index either.
        if (kvProvider.persistent && index === this.#life.index) await this.#directory.distrust(error);
        placed = this.#life.replace(index, error, kvProvider.persistent ? rebuilt.live : undefined);
        return outcome;
      } finally {
        if (!placed) await this.#directory.sweep("rebuild");
      }
    });
  }
}

function wrongIndex({ txId, digest, rebuilt, basis }: CheckOutcome): CairnError {
  const difference =
    digest === rebuilt
      ? `the index has the same documents as one rebuilt from ${basis}, but different outcomes of transactions`
      : `the index has the digest ${digest}; rebuilt from ${basis}, it has ${rebuilt}`;
  return new CairnError(
    "INDEX_CORRUPT",
    `At transaction ${txId} ${difference}.`,
    "Check the disk and the memory of the node, which moved its index aside and continues from a rebuilt one. Checkpoints that it saved before may have the same fault: " +
      "save a new one (cairn checkpoint create) and remove those.",
  );
}
