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

/** A store that was opened, and what its index holds; `state` is undefined when it holds nothing yet. */
export interface OpenedIndex {
  readonly kv: KvStore;
  readonly state: IndexState | undefined;
}

/** Opens an index; an `INDEX_…` error says why it cannot be used, and leaves nothing open. */
export async function openIndex(
  provider: KvProvider,
  dir: string,
  opening?: KvOpening,
): Promise<OpenedIndex> {
  const kv = await provider.open(dir, opening);
  try {
    const state = await readState(kv);
    // That its chains are whole is known here, before anybody relies on it.
    if (state !== undefined) await ChainWindow.load(kv, state);
    return { kv, state };
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** Like {@link openIndex}, but an index that cannot be used is answered as the error that says why. */
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

/** What opens a provider's files for a look only: an index in memory would be loaded whole by its own provider. */
export function fileReader(provider: KvProvider): KvProvider {
  const level = levelProvider();
  return !provider.persistent && provider.format === level.format ? level : provider;
}
