import { VERSION } from "@cairn/text";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type CheckpointSource,
  encryptedStore,
  filesystemStore,
  type StoreEncryption,
  takeCheckpoint,
} from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { INDEX_VERSION } from "@cairn/engine";

/** Returns a source whose index is an empty database and a file with its transaction. */
function sourceAt(txId: number, logId: string): CheckpointSource {
  return {
    node: "node-1",
    version: VERSION,
    position: () => Promise.resolve({ logId, txId }),
    capture: async (target) => {
      const kv = await levelProvider().open(target);
      await kv.close();
      await writeFile(join(target, "STATE"), `state ${txId}\n`);
      return {
        format: { index: INDEX_VERSION, kv: "leveldb/1" },
        log: { id: logId, name: "cairn", offset: 0 },
        txId,
        txTime: "2026-11-20T06:12:26.123Z",
        anchor: { txId, sha256: "0".repeat(64) },
        chains: [],
        purged: txId,
        documents: txId,
      };
    },
  };
}

/** Saves a checkpoint of each transaction into the folder. Returns their names in the same order. */
export async function saveTo(
  folder: string,
  txIds: readonly number[],
  logId = "log-1",
  encryption?: StoreEncryption,
): Promise<string[]> {
  const plain = filesystemStore({ path: folder });
  const store = encryption === undefined ? plain : encryptedStore(plain, encryption);
  const checkpointDir = `${folder}-capture`;
  const names: string[] = [];
  for (const txId of txIds) {
    const outcome = await takeCheckpoint({
      source: sourceAt(txId, logId),
      forced: true,
      options: { store, approxFrequency: 3_600_000, checkpointDir, compression: "none" },
    });
    if (outcome.outcome === "taken") names.push(outcome.checkpoint.name);
  }
  await rm(checkpointDir, { recursive: true, force: true });
  await store.close();
  return names;
}
