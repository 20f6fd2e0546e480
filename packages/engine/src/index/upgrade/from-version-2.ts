import { closing, type KvOperation } from "@cairn/kv";
import { indexRows } from "../rows/index-rows.ts";
import { ROW, rowsOfKind } from "../rows/row-keys.ts";
import { hasContentRow } from "../rows/version-values.ts";
import type { UpgradeStep } from "./upgrade-step.ts";

/** The most that a batch holds (bytes). */
const MAX_BYTES = 1024 * 1024;

/** Versions have had their documents in rows of their own since version 3, unless the documents are small. */
export const separateDocuments: UpgradeStep = async (kv, { documents }, { signal, onProgress }) => {
  const separated = indexRows(kv);
  let done = 0;
  for (const kind of [ROW.document, ROW.version]) {
    await closing(kv.snapshot(), async (snapshot) => {
      let batch: KvOperation[] = [];
      let bytes = 0;
      for await (const rows of snapshot.range(rowsOfKind(kind))) {
        for (const [key, value] of rows) {
          if (!hasContentRow(value)) continue;
          batch.push({ type: "put", key, value });
          bytes += value.length;
        }
        if (kind === ROW.document) onProgress?.((done += rows.length), documents);
        if (bytes < MAX_BYTES) continue;
        signal?.throwIfAborted();
        await separated.batch(batch);
        batch = [];
        bytes = 0;
      }
      await separated.batch(batch);
    });
    // Otherwise the documents would be in the files twice, and in every checkpoint, for a long time.
    await kv.compact(rowsOfKind(kind));
  }
};
