import path from "node:path";
import type { BackupTarget } from "@cairn/engine/src/backup/write/write-segments";
import { backupTarget, writeRuns } from "@cairn/test-support/nodes/trimmed-backup";
import { type TrimScene, trimScene, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

/** A log with its backup, and the commands that work on both. */
export interface BackupCommands {
  readonly scene: TrimScene;
  /** The id of the log, and the checkpoints at 11 and 21. */
  readonly id: string;
  readonly older: string;
  readonly newer: string;
  readonly store: string;
  /** Runs `cairn log backup …`, with the configuration of the log and the store. */
  readonly configured: (...args: string[]) => Promise<CommandResult>;
  readonly run: (...args: string[]) => Promise<CommandResult>;
  readonly edn: string;
  /** Opens the log for as long as `use` runs. */
  readonly withTarget: <T>(use: (target: BackupTarget) => Promise<T>) => Promise<T>;
}

/** Writes a log of 31 messages, two checkpoints, and segments with those bounds. */
export async function backupCommands(...bounds: number[]): Promise<BackupCommands> {
  const scene = await trimScene("embedded");
  const [older, newer] = await twoCheckpoints(scene);
  const store = path.join(scene.folder, "checkpoints");
  const edn = `{:cairn/node {:id "first" :dir "${scene.folder}"} :cairn/tx-log {:cairn/module cairn.embedded/->tx-log :path "${scene.folder}/log"}
    :cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT6H" :store {:cairn/module cairn.checkpoint/->filesystem-checkpoint-store :path "${store}" :shared-store true}}}}}`;
  const run = (...args: string[]): Promise<CommandResult> =>
    cairn(["log", "backup", ...args], new CapturedTerminal({ cwd: scene.folder }));
  const withTarget: BackupCommands["withTarget"] = async (use) => {
    const log = await scene.openLog();
    try {
      return await use(await backupTarget(scene, log));
    } finally {
      await log.close();
    }
  };
  const id = await withTarget(async (target) => {
    await writeRuns(target, ...bounds);
    return target.of.id;
  });
  const configured = (...args: string[]): Promise<CommandResult> => run(...args, "-e", edn);
  return { scene, id, older, newer, store, configured, run, edn, withTarget };
}
