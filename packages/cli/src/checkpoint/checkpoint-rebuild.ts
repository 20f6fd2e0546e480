import { hostname } from "node:os";
import { logWithBackup, rebuildCheckpoint, restoreStores } from "@cairn/engine";
import { formatCount } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable } from "../terminal/terminal.ts";
import { openLog, requireIdentity } from "../places/configured-system.ts";

/** Saves a checkpoint of this version, built from the log, unless the store has one of the whole log. Nodes may run. */
export async function rebuildConfigured(
  run: CommandRun<ConfigurationOptions>,
): ReturnType<typeof rebuildCheckpoint> {
  const signal = run.interruptible(
    "nothing was saved",
    "Run the same command again to continue: the index built so far remains in the node's dir under rebuild/.",
  );
  const { log: opened, system } = await openLog(run);
  const { checkpointer } = system;
  if (checkpointer === undefined) {
    throw new UsageError(
      "The configuration has no checkpointer, so there is no store in which to save a checkpoint.",
      "Configure a checkpointer as docs/configuration.md describes.",
    );
  }
  const log = logWithBackup(opened, restoreStores(system));
  const identity = await requireIdentity(log, system);
  const { stderr } = run.terminal;
  const { update, stop } = run.lateProgress("rebuilding", formatCount);
  return await rebuildCheckpoint({
    log,
    identity,
    system: { ...system, checkpointer },
    node: `cairn checkpoint create --rebuild on ${hostname()}`,
    signal,
    onProgress: (done, total) => update(done, total, `transactions of ${log.name}`),
    onLogState: ({ reachable, error }) => {
      if (!reachable) stderr.write(`${error?.message ?? "The log cannot be reached."} Retrying.\n`);
    },
    onBuilt: stop,
    onWaiting: (because) => stderr.write(`${printable(because)} Waiting until it ends.\n`),
  }).finally(stop);
}
