import { closing, type KvOperation, levelProvider } from "@cairn/kv";
import { indexReader } from "../src/index/rows/index-rows.ts";
import { encodeState, INDEX_VERSION, readState } from "../src/index/rows/index-state.ts";
import { ROW, STATE_ROW_KEY } from "../src/index/rows/row-keys.ts";

/** Changes an index that no node has open so that it claims to be of the next version. */
export async function ofNextVersion(dir: string): Promise<void> {
  await closing(await levelProvider().open(dir), async (kv) => {
    const state = await readState(kv);
    if (state === undefined) throw new Error(`there is no index in ${dir}`);
    const value = encodeState({ ...state, version: INDEX_VERSION + 1 });
    await kv.batch([{ type: "put", key: STATE_ROW_KEY, value }]);
  });
}

/** Changes an index that no node has open into that of version 2, whose versions contain their documents. */
export async function ofVersion2(dir: string): Promise<void> {
  await closing(await levelProvider().open(dir), async (kv) => {
    const state = await readState(kv);
    if (state === undefined) throw new Error(`there is no index in ${dir}`);
    await closing(kv.snapshot(), async (snapshot) => {
      for await (const rows of indexReader(snapshot).range({}))
        await kv.batch(
          rows.map(([key, value]): KvOperation => {
            const isNew = key[0] === ROW.content || key[0] === ROW.erasure;
            return isNew ? { type: "del", key } : { type: "put", key, value };
          }),
        );
    });
    const value = encodeState({ ...state, version: 2, inPlace: undefined });
    await kv.batch([{ type: "put", key: STATE_ROW_KEY, value }]);
    await kv.compact();
  });
}
