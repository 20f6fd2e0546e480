import {
  CairnError,
  closing,
  isCairnError,
  type KvOpening,
  type KvProvider,
  lastValueIn,
  LEVEL_FORMAT,
  levelProvider,
  type KvStore,
} from "@cairn/kv";
import { ChainWindow } from "./chains/chain-window.ts";
import { type IndexState, prefixInState, readState, type StatePrefix } from "./rows/index-state.ts";
import { indexRows } from "./rows/index-rows.ts";
import { STATE_ROW_KEY } from "./rows/row-keys.ts";

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
  const kv = indexRows(await provider.open(dir, opening));
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
    if (isCairnError(error, "INDEX_CORRUPT", "INDEX_VERSION")) return { unusable: error };
    throw error;
  }
}

/** Opens an index that no process writes to, and closes it when `reading` has ended. */
export async function readIndex<T>(
  provider: KvProvider,
  dir: string,
  reading: (index: OpenedIndex) => Promise<T>,
): Promise<T> {
  const index = await openIndex(fileReader(provider), dir);
  return await closing(index.kv, async () => await reading(index));
}

/** A provider of indexes in memory would load the whole index. */
export function fileReader(provider: KvProvider): KvProvider {
  const level = levelProvider();
  return !provider.persistent && provider.format === level.format ? level : provider;
}

/** Returns the prefix that a closed index holds, which may be damaged or of another version; undefined if unknown. */
export async function readPrefix({ format }: KvProvider, dir: string): Promise<StatePrefix | undefined> {
  if (format !== LEVEL_FORMAT) return undefined;
  const value = await lastValueIn(dir, STATE_ROW_KEY);
  return value && prefixInState(value);
}
