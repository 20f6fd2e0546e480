import { dirname, resolve } from "node:path";
import { lastBackedUp, takeOwnFiles } from "@cairn/engine";
import { diskError, namesIn, systemErrorCode } from "@cairn/kv";
import { formatBytes, formatCount, formatNumberOf, omitUndefined } from "@cairn/text";
import { command } from "../options/command.ts";
import { OUTPUT, textValue } from "../options/option-specs.ts";
import { POINT_OPTIONS, pointOf } from "../places/past-point.ts";
import { STORE_OPTIONS } from "../places/store-keys.ts";
import { CHECKPOINT_LOG, chooseLog, openCheckpoints } from "../places/checkpoint-place.ts";
import { restoreShown } from "../places/restored-checkpoint.ts";
import { workFolder } from "../places/staging-folder.ts";
import { UsageError } from "../terminal/report-error.ts";
import { restoreAt } from "./checkpoint-restore-at.ts";

export const addCheckpointRestore = command({
  syntax: "restore [store]",
  description:
    "Restore the newest checkpoint of a folder or of the configured store, or an index as of a point in the past, to a new directory, and verify it",
  examples: [
    "cairn checkpoint restore -f cairn.edn -o ./restored",
    "cairn checkpoint restore ./cairn-data/checkpoints -o ./restored",
    "cairn checkpoint restore ./cairn-data/checkpoints --at-tx 1200 -o ./restored",
  ],
  options: {
    ...STORE_OPTIONS,
    ...POINT_OPTIONS,
    name: {
      ...textValue("<name>", "restore this checkpoint instead of the newest one"),
      conflicts: ["atTx", "at"],
    },
    log: CHECKPOINT_LOG,
    output: OUTPUT,
  },
  async act(run, place) {
    const { options, terminal } = run;
    const target = resolve(terminal.cwd, options.output);
    const at = pointOf(options);
    const found = await openCheckpoints(run, place);
    run.interruptible("nothing was restored");
    // The last step replaces the target, which may be a mount point.
    run.explained = (error) => (systemErrorCode(error) === "EBUSY" ? diskError(error, target) : error);
    if (at !== undefined) return await restoreAt(run, found, at, target);
    const { store, name: inPlace } = found;
    if (inPlace !== undefined && options.name !== undefined && inPlace !== options.name)
      throw new UsageError(`The path names ${inPlace}, and --name names a different one.`);
    const name = options.name ?? inPlace;
    const logId = name === undefined ? await chooseLog(found, options.log) : undefined;
    const restored = await restoreShown(run, {
      verb: "restoring",
      stores: [store],
      stagingDir: await workFolder(run, dirname(target), "restore"),
      targetDir: target,
      ...omitUndefined({ name, logId }),
      accept: () => Promise.resolve(true),
      // They belong beside the index of a node, which has them built.
      verify: async (folder, { purged }) => await takeOwnFiles(folder, purged),
      // A checkpoint of another log is not faulty and therefore not reported.
      onSkipped: (one) => void (one.error.code === "LOG_DIFFERENT" || run.passOver(one.name, one.error)),
    });
    const { txId, log } = restored.manifest;
    const names = await namesIn(target);
    const files = restored.manifest.files.filter((file) => names.includes(file.name));
    const lastInBackup = await lastBackedUp([store], log.id);
    const beyond = Math.max(0, lastInBackup - txId);
    if (beyond > 0)
      run.notice(
        `the log backup in the store holds ${formatNumberOf(beyond, "later transaction")}, up to ${lastInBackup}, of which this index has none: --at-tx ${lastInBackup} restores them as well.`,
      );
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const size = `${formatNumberOf(files.length, "file")}, ${formatBytes(bytes)}`;
    return await run.answer(
      { name: restored.name, txId, beyond, directory: target },
      `restored ${restored.name} (transaction ${formatCount(txId)}) to ${options.output}: ${size}, all verified`,
    );
  },
});
