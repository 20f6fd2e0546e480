import { hostname } from "node:os";
import { type Manifest, type RestoreOptions, restoreCheckpoint } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import { judgeFormat, verifyRestored } from "../../checkpoints/accept-checkpoint.ts";
import { type ProgressDisplay, showProgress } from "../terminal/progress-display.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { noCheckpoint } from "./checkpoint-place.ts";

/** A display of the progress of a restore, which appears as soon as the size of the restore is known. */
export interface RestoreDisplay extends Pick<ProgressDisplay, "stop"> {
  readonly onProgress: NonNullable<RestoreOptions["onProgress"]>;
}

/** Shows the progress of a restore; `verb` is a word such as `unpacking`. */
export function showRestore(terminal: Terminal, verb: string): RestoreDisplay {
  let display: ProgressDisplay | undefined;
  return {
    onProgress: ({ done, total, name }) => {
      display ??= showProgress(terminal.stderr, verb, total);
      display.update(done, name);
    },
    stop: () => display?.stop(),
  };
}

/** The checkpoint to restore, the target, and the command that restores it. */
export interface NamedRestore extends Pick<
  RestoreOptions,
  "stores" | "stagingDir" | "targetDir" | "reserveIn" | "verify" | "signal"
> {
  readonly accept?: RestoreOptions["accept"];
  readonly name: string;
  /** The full name of the command, such as `cairn checkpoint diff`. */
  readonly command: string;
  readonly verb: string;
}

/** Compares the index with its manifest. Throws the reason why it cannot be used, or `CHECKPOINT_NOT_FOUND`. */
export async function restoreNamed(
  { command, verb, ...options }: NamedRestore,
  provider: KvProvider,
  terminal: Terminal,
): Promise<{ readonly name: string; readonly store: string; readonly manifest: Manifest }> {
  const { name, stores } = options;
  const display = showRestore(terminal, verb);
  try {
    const { restored, skipped } = await restoreCheckpoint({
      node: `${command} on ${hostname()}`,
      accept: (manifest) => Promise.resolve(judgeFormat(manifest, provider.format) ?? true),
      verify: async (folder, manifest) => await verifyRestored(provider, folder, manifest),
      ...options,
      onProgress: display.onProgress,
    });
    if (restored !== undefined) return restored;
    throw skipped.find((one) => one.name === name)?.error ?? noCheckpoint(stores, name, skipped);
  } finally {
    display.stop();
  }
}
