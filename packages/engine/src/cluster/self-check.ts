import { isDeepStrictEqual } from "node:util";
import { CairnError, Semaphore, unlessFailed } from "@cairn/kv";
import type { Logger } from "pino";
import type { TxId } from "@cairn/client";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import type { ComparedNode } from "./compared-node.ts";
import { notReady } from "../api/not-ready.ts";
import type { System } from "../api/system.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { CheckOutcome, OnWork } from "./peer-server.ts";
import { rebuildIndex } from "../replay/rebuild-index.ts";

interface CheckRequest {
  readonly txId: TxId;
  readonly signal: AbortSignal;
  readonly onWork: OnWork;
  readonly agreeAt: TxId | undefined;
}

/** Determines the digest and the chains of this node's index, and compares the index with a rebuild from the log. */
export class SelfCheck {
  readonly #system: System;
  readonly #life: ComparedNode;
  readonly #logger: Logger;
  readonly #directory: IndexDirectory;
  readonly #dir: string;
  /** This semaphore is held during a rebuild, because rebuilds share a folder. */
  readonly #rebuilding = new Semaphore();

  constructor(system: System, directory: IndexDirectory, life: ComparedNode, logger: Logger) {
    this.#system = system;
    this.#life = life;
    this.#logger = logger;
    this.#directory = directory;
    this.#dir = directory.layout.rebuild;
  }

  /** Returns the digest at an indexed transaction. Meanwhile, the node continues to apply the log. */
  async digestAt(log: string, txId: TxId): Promise<{ txId: TxId; digest: string }> {
    const index = this.#indexOf(log);
    try {
      const digest = await index.digest(txId);
      if (digest === undefined) throw notReady(this.#life);
      return digest;
    } catch (error) {
      this.#life.suspect(index, error);
      throw error;
    }
  }

  /** If the history no longer covers the transaction, returns `forgotten`, if given: only chains are compared then. */
  async #digestAt(log: string, txId: TxId, forgotten: string | undefined): Promise<string> {
    const computed = this.digestAt(log, txId).then(({ digest }) => digest);
    return forgotten === undefined ? await computed : await unlessFailed(computed, "CONFLICT", forgotten);
  }

  /** Returns the index in use, which must belong to the log with this id. */
  #indexOf(log: string): IndexStore {
    const { index, agrees } = this.#life;
    if (index === undefined || !agrees) throw notReady(this.#life);
    if (index.state.log.id !== log) throw ofAnotherLog(index.state.log.id, log);
    return index;
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
      return await this.#check(log, { txId, signal, onWork, agreeAt });
    });
  }

  async #check(log: string, { txId, signal, onWork, agreeAt }: CheckRequest): Promise<CheckOutcome> {
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
        dir: this.#dir,
        txId,
        exceptNode: nodeId,
        ...(agreeAt === undefined ? {} : { agreeAt }),
        signal,
        onProgress: onWork,
      });
      const isSamePast = own === undefined || isDeepStrictEqual(own, rebuilt.chains);
      const digest = await this.#digestAt(log, txId, own === undefined ? undefined : rebuilt.digest);
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

function ofAnotherLog(own: string, asked: string): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `The node's index belongs to the log ${own}, not to ${asked}.`,
    "Check the log's address and name on both nodes.",
  );
}
