import { type RestoreOptions, type RestoreResult, restoreCheckpoint } from "@cairn/checkpoint";
import type { CommandRun } from "../options/command.ts";
import { noCheckpoint } from "./checkpoint-place.ts";

/** Shows the progress of a restore; `verb` is a word such as `unpacking`. */
export function showRestore(run: CommandRun, verb: string) {
  const { update, stop } = run.lateProgress(verb);
  const onProgress: RestoreOptions["onProgress"] = ({ done, total, name }) => update(done, total, name);
  return { onProgress, stop };
}

type ShownRestore = Omit<RestoreOptions, "node" | "onProgress" | "signal"> & { readonly verb: string };

/** Throws the reason why the named checkpoint cannot be used, or `CHECKPOINT_NOT_FOUND`. */
export async function restoreShown(
  run: CommandRun,
  { verb, ...options }: ShownRestore,
): Promise<NonNullable<RestoreResult["restored"]>> {
  const { onProgress, stop } = showRestore(run, verb);
  const { node, signal } = run;
  const restoring = restoreCheckpoint({ node, signal, ...options, onProgress });
  const { restored, skipped } = await restoring.finally(stop);
  if (restored !== undefined) return restored;
  // A checkpoint of another log is not faulty.
  const faulty = skipped.filter(({ error }) => error.code !== "LOG_DIFFERENT");
  throw noCheckpoint(options.stores, options.name, faulty);
}
