import { closing, levelProvider } from "@cairn/kv";
import path from "node:path";
import { IndexStore } from "../index/index-store.ts";
import { openIndex } from "../index/local-index.ts";
import { IndexFolders } from "./index-folders.ts";
import { IndexThread } from "./index-thread.ts";
import type { OwnIndexOptions } from "./own-index.ts";
import { StateFeed } from "./state-feed.ts";

/** A checkpoint that was restored, to be examined. */
export interface RestoredFiles {
  /** The folder of the node's index. */
  readonly dir: string;
  /** The folder of the indexes of one's own that were restored with it. */
  readonly own: string;
}

/**
 * Returns the digests of a restored index of one's own, once it has what the node's index has, and of one that is built
 * from that. Undefined if the checkpoint does not have the index, or the index has no digest. Throws what its module
 * throws, and the reason of the signal.
 */
export async function restoredDigests(
  options: OwnIndexOptions,
  { dir, own }: RestoredFiles,
  signal: AbortSignal,
): Promise<{ readonly restored: string; readonly built: string } | undefined> {
  const folders = new IndexFolders(path.join(own, options.name));
  const complete = await folders.complete();
  if (complete === undefined) return undefined;
  const advance = async (thread: IndexThread): Promise<void> => await follow(thread, dir, options, signal);
  const restored = await digestOf(options, complete.dir, advance, signal);
  const folder = await folders.begin(options.version);
  const build = async (thread: IndexThread): Promise<unknown> =>
    await thread.build(dir, options.buckets, () => undefined);
  const built = restored && (await digestOf(options, folder, build, signal));
  return built === undefined || restored === undefined ? undefined : { restored, built };
}

async function digestOf(
  { module, name, version, options }: OwnIndexOptions,
  dir: string,
  fill: (thread: IndexThread) => Promise<unknown>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const served = { module, options, context: { name, version, dir } };
  const thread = await IndexThread.start(served, () => undefined);
  const end = (): void => void thread.close();
  signal.addEventListener("abort", end);
  try {
    signal.throwIfAborted();
    if (!thread.can.has("digest")) return undefined;
    await fill(thread);
    return await thread.digest();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", end);
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
  const { kv } = await openIndex(levelProvider(), dir);
  await closing(kv, async () => {
    const feed = new StateFeed(await IndexStore.openReadOnly(kv), options);
    for await (const batch of feed.after(position, signal)) {
      await thread.apply(batch);
      if (batch.complete) return;
    }
  });
}
