import { type Manifest, type RestoreOptions, type RestoreResult, restoreCheckpoint } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import { judgeFormat, verifyRestored } from "@cairn/engine";
import type { CommandRun, LateProgress } from "../options/command.ts";
import { noCheckpoint } from "./checkpoint-place.ts";

/** Shows the progress of a restore; `verb` is a word such as `unpacking`. */
export function showRestore(
  run: CommandRun,
  verb: string,
): Pick<LateProgress, "stop"> & Required<Pick<RestoreOptions, "onProgress">> {
  const { update, stop } = run.lateProgress(verb);
  return { onProgress: ({ done, total, name }) => update(done, total, name), stop };
}

/** What to restore, and where. */
type ShownRestore = Omit<RestoreOptions, "node" | "onProgress" | "signal"> & { readonly verb: string };

export async function restoreShown(
  run: CommandRun,
  { verb, ...options }: ShownRestore,
): Promise<RestoreResult> {
  const { onProgress, stop } = showRestore(run, verb);
  const { node, signal } = run;
  return await restoreCheckpoint({ node, signal, ...options, onProgress }).finally(stop);
}

/** Compares the index with its manifest. Throws the reason why it cannot be used, or `CHECKPOINT_NOT_FOUND`. */
export async function restoreNamed(
  run: CommandRun,
  provider: KvProvider,
  options: Omit<ShownRestore, "accept"> & Partial<Pick<ShownRestore, "accept">> & { readonly name: string },
): Promise<{ readonly name: string; readonly store: string; readonly manifest: Manifest }> {
  const { name, stores } = options;
  const { restored, skipped } = await restoreShown(run, {
    accept: (manifest) => Promise.resolve(judgeFormat(manifest, provider.format) ?? true),
    verify: async (folder, manifest) => await verifyRestored(provider, folder, manifest),
    ...options,
  });
  if (restored !== undefined) return restored;
  throw skipped.find((one) => one.name === name)?.error ?? noCheckpoint(stores, name, skipped);
}
