import path from "node:path";
import type { TxId } from "@cairn/client";
import { type CairnError, levelProvider } from "@cairn/kv";
import type { Logger } from "pino";
import { IndexStore } from "../index/index-store.ts";
import { readIndex } from "../index/local-index.ts";
import { logFailure } from "../observe/failures.ts";
import { IndexFolders } from "./index-folders.ts";
import { IndexThread } from "./index-thread.ts";
import type { OwnIndexOptions } from "./own-index.ts";
import { ownIndexDiffers } from "./own-index-errors.ts";
import { StateFeed } from "./state-feed.ts";

export interface RestoredCheckpoint {
  readonly name: string;
  readonly txId: TxId;
  /** The node that saved it. */
  readonly node: string;
  readonly isOfThisNode: boolean;
  /** The folder of the node's index. */
  readonly dir: string;
  /** The folder of the indexes of one's own that were restored with it. */
  readonly own: string;
}

interface Run {
  readonly signal: AbortSignal;
  readonly onNotice: (sentence: string) => void;
}

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

/**
 * Returns the digests of a restored index of one's own, once it has what the node's index has, and of one that is built
 * from that. Undefined if the checkpoint does not have the index, or the index has no digest. Throws what its module
 * throws, and the reason of the signal.
 */
export async function restoredDigests(
  options: OwnIndexOptions,
  { dir, own }: Pick<RestoredCheckpoint, "dir" | "own">,
  run: Run,
): Promise<{ readonly restored: string; readonly built: string } | undefined> {
  const folders = new IndexFolders(path.join(own, options.name));
  const complete = await folders.complete();
  if (complete === undefined) return undefined;
  const advance = async (thread: IndexThread): Promise<void> =>
    await follow(thread, dir, options, run.signal);
  const restored = await digestOf(options, complete.dir, advance, run);
  const folder = await folders.begin(options.version);
  const build = async (thread: IndexThread): Promise<unknown> =>
    await thread.build(dir, options.buckets, () => undefined);
  const built = restored && (await digestOf(options, folder, build, run));
  return built === undefined || restored === undefined ? undefined : { restored, built };
}

async function digestOf(
  { module, name, version, options }: OwnIndexOptions,
  dir: string,
  fill: (thread: IndexThread) => Promise<unknown>,
  { signal, onNotice }: Run,
): Promise<string | undefined> {
  const thread = await IndexThread.start(
    { module, options, context: { name, version, dir } },
    onNotice,
    signal,
  );
  try {
    if (!thread.can.has("digest")) return undefined;
    await fill(thread);
    return await thread.digest();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await thread.close();
  }
}

/** Brings a restored index to where the index in `dir` is, as a node does that joins with both. */
async function follow(
  thread: IndexThread,
  dir: string,
  options: OwnIndexOptions,
  signal: AbortSignal,
): Promise<void> {
  const { position } = thread;
  if (position === undefined) throw new Error("its files have no position");
  await readIndex(levelProvider(), dir, async ({ kv }) => {
    const feed = new StateFeed(await IndexStore.openReadOnly(kv), options);
    for await (const batch of feed.after(position, signal)) {
      await thread.apply(batch);
      if (batch.complete) return;
    }
  });
}
