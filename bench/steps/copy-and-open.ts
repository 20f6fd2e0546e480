import { levelProvider } from "@cairn/kv";
import { copyDirectory, flush, seconds } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { peakMemory } from "../harness/peak-memory.ts";

/** Copies the directory of a LevelDB database, flushes the copy, opens it and reads a row: the minimum for any join. */
export async function copyAndOpen({
  from,
  to,
}: {
  readonly from: string;
  readonly to: string;
}): Promise<Figures> {
  const s = await seconds(async () => {
    await copyDirectory(from, to);
    await flush(to, { files: true });
    const store = await levelProvider().open(to);
    for await (const rows of store.range({ limit: 1 })) if (rows.length > 0) break;
    await store.close();
  });
  return { s, "peak MB": peakMemory() };
}
