import path from "node:path";
import { takeCheckpoint } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { capturedState } from "@cairn/engine/src/checkpoints/index-source";
import { encodeState } from "@cairn/engine/src/index/rows/index-state";
import type { IndexState } from "@cairn/engine/src/index/rows/index-state";
import { readState } from "@cairn/engine/src/index/rows/index-state";
import { STATE_ROW_KEY } from "@cairn/engine/src/index/rows/row-keys";
import type { TrimScene } from "./trim-scene.ts";

/**
 * Changes the metadata in the index of a stopped node, and saves the index as a node would. Returns the checkpoint's
 * name. `without` contains the rows to remove.
 */
export async function saveAltered(
  scene: TrimScene,
  id: string,
  change: Partial<IndexState>,
  without: readonly Uint8Array[] = [],
): Promise<string> {
  const kv = await levelProvider().open(path.join(scene.folder, `${id}-index`, "live"));
  const state = await readState(kv);
  if (state === undefined) throw new Error("there is no index");
  const altered = { ...state, ...change };
  await kv.batch([{ type: "put", key: STATE_ROW_KEY, value: encodeState(altered) }]);
  await kv.batch(without.map((key) => ({ type: "del", key })));
  const { format } = levelProvider();
  const captured = {
    ...(await capturedState(kv, state, format)),
    format: { index: altered.version, kv: format },
    txId: altered.txId,
    anchor: { txId: altered.txId, sha256: altered.sha256 },
  };
  const outcome = await takeCheckpoint({
    source: {
      node: id,
      version: "9.9.9",
      format: captured.format,
      position: () => Promise.resolve({ logId: altered.log.id, txId: altered.txId }),
      capture: async (dir) => {
        await kv.capture(dir);
        return captured;
      },
      // The index is saved regardless of the content of the store.
      agrees: () => Promise.resolve(false),
    },
    forced: true,
    options: {
      store: scene.store,
      approxFrequency: 1_000,
      checkpointDir: path.join(scene.folder, "capture"),
      compression: "none",
    },
  });
  await kv.close();
  if (outcome.outcome !== "taken") throw new Error(outcome.because);
  return outcome.checkpoint.name;
}
