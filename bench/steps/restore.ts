import { join } from "node:path";
import { filesystemStore, restoreCheckpoint } from "@cairn/checkpoint";
import { touchPages } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { peakMemory, resetPeakMemory } from "../harness/peak-memory.ts";

/** Restores a folder's newest checkpoint into `dir`, verified and flushed. */
export async function restoreOnce(input: {
  readonly checkpoints: string;
  readonly dir: string;
}): Promise<Figures> {
  const store = filesystemStore({ path: input.checkpoints });
  await touchPages();
  const idle = resetPeakMemory();
  const begin = performance.now();
  const { restored } = await restoreCheckpoint({
    stores: [store],
    stagingDir: join(input.dir, "staging"),
    targetDir: join(input.dir, "live"),
    node: "bench",
    accept: () => Promise.resolve(true),
  });
  const seconds = (performance.now() - begin) / 1000;
  await store.close();
  if (restored === undefined) throw new Error("there was nothing to restore");
  const peak = peakMemory();
  const megabytes = restored.manifest.archive.bytes / 1_000_000;
  return { s: seconds, "MB/s": megabytes / seconds, "peak MB": peak, "MB above idle": peak - idle };
}
