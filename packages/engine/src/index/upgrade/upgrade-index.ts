import { isDeepStrictEqual } from "node:util";
import { CairnError, closing, type KvProvider, type KvReader, type KvStore } from "@cairn/kv";
import type { Chains } from "@cairn/client";
import { chainsOf } from "../chains/chain-values.ts";
import { ChainWindow } from "../chains/chain-window.ts";
import { digestIndex } from "../read/digest.ts";
import { encodeState, INDEX_VERSION, type IndexState, readStoredState } from "../rows/index-state.ts";
import { indexReader } from "../rows/index-rows.ts";
import { STATE_ROW_KEY } from "../rows/row-keys.ts";
import { separateDocuments } from "./from-version-2.ts";
import type { Upgrading, UpgradeStep } from "./upgrade-step.ts";

/** The steps, beginning with that from the oldest version. Those of all released versions stay. */
const STEPS: readonly UpgradeStep[] = [separateDocuments];

/**
 * Makes an index of an older version one of this version, in place: `dir` must be a copy that is given up if this fails
 * or the process ends. The state row comes last. Does nothing to an empty index or one of this version. Throws
 * `INDEX_VERSION` for any other version, and `INDEX_CORRUPT` if the index is damaged or its content is not the same
 * afterwards, which digest and chains show.
 */
export async function upgradeIndex(
  provider: KvProvider,
  dir: string,
  upgrading: Upgrading = {},
): Promise<void> {
  const kv = await provider.open(dir);
  await closing(kv, async () => {
    const stored = await readStoredState(kv);
    if (stored === undefined || stored.version === INDEX_VERSION) return;
    const state = { ...stored, version: INDEX_VERSION };
    const value = encodeState(state);
    const before = await contentOf(withState(kv, value), state);
    for (const step of STEPS.slice(stored.version - INDEX_VERSION)) await step(kv, state, upgrading);
    const after = await contentOf(withState(kv, value), state);
    if (!isDeepStrictEqual(after, before)) {
      throw new CairnError(
        "INDEX_CORRUPT",
        `After its upgrade from version ${stored.version} to ${INDEX_VERSION}, the index would have other content: ${JSON.stringify(after)} instead of ${JSON.stringify(before)}.`,
        "Do nothing: the index is built from a checkpoint or the log instead. Report this with both versions of Cairn.",
      );
    }
    await kv.batch([{ type: "put", key: STATE_ROW_KEY, value }], { sync: true });
  });
}

/** What an index has in every version. */
async function contentOf(
  stored: KvReader,
  state: IndexState,
): Promise<{ readonly digest: string | undefined; readonly chains: Chains }> {
  const reader = indexReader(stored);
  const digest = await digestIndex(reader);
  return { digest: digest?.digest, chains: await chainsOf(reader, await ChainWindow.load(reader, state)) };
}

/** Returns a reader of the same rows with another state row. */
function withState(kv: KvStore, value: Uint8Array): KvReader {
  return {
    get: (key) => (Buffer.compare(key, STATE_ROW_KEY) === 0 ? value : kv.get(key)),
    getMany: async (keys) => await kv.getMany(keys),
    range: (range) => kv.range(range),
  };
}
