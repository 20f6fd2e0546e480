import { levelProvider } from "@cairn/kv";
import { encodeState, INDEX_VERSION, readState } from "../src/index/rows/index-state.ts";
import { STATE_ROW_KEY } from "../src/index/rows/row-keys.ts";

/** Changes an index that no node has open so that it claims to be of the next version. */
export async function ofNextVersion(dir: string): Promise<void> {
  const kv = await levelProvider().open(dir);
  try {
    const state = await readState(kv);
    if (state === undefined) throw new Error(`there is no index in ${dir}`);
    const value = encodeState({ ...state, version: INDEX_VERSION + 1 });
    await kv.batch([{ type: "put", key: STATE_ROW_KEY, value }]);
  } finally {
    await kv.close();
  }
}
