import {
  CairnError,
  isCairnError,
  type KvOpening,
  type KvProvider,
  levelProvider,
  type KvStore,
} from "@cairn/kv";
import { ChainWindow } from "./chains/chain-window.ts";
import { type IndexState, readState } from "./rows/index-state.ts";

/** An open store and the state of its index, which is undefined if the store is empty. */
export interface OpenedIndex {
  readonly kv: KvStore;
  readonly state: IndexState | undefined;
}

/** Opens an index. Throws an `INDEX_…` error if the index cannot be used, and leaves nothing open. */
export async function openIndex(
  provider: KvProvider,
  dir: string,
  opening?: KvOpening,
): Promise<OpenedIndex> {
  const kv = await provider.open(dir, opening);
  try {
    const state = await readState(kv);
    // This also checks that the chains of the index are intact.
    if (state !== undefined) await ChainWindow.load(kv, state);
    return { kv, state };
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** Like {@link openIndex}, but returns the error of an unusable index. */
export async function tryOpenIndex(
  provider: KvProvider,
  dir: string,
  opening?: KvOpening,
): Promise<OpenedIndex | { readonly unusable: CairnError }> {
  try {
    return await openIndex(provider, dir, opening);
  } catch (error) {
    if (isCairnError(error, "INDEX_CORRUPT") || isCairnError(error, "INDEX_VERSION"))
      return { unusable: error };
    throw error;
  }
}

/** A provider of indexes in memory would load the whole index. */
export function fileReader(provider: KvProvider): KvProvider {
  const level = levelProvider();
  return !provider.persistent && provider.format === level.format ? level : provider;
}
