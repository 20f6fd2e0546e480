import { surveyBackup } from "@cairn/engine";
import { formatBytes, formatCount, formatRelative } from "@cairn/text";
import { command, commandGroup } from "../../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../../options/configuration.ts";
import { BACKUP_LOG, openBackup } from "../../places/backup-place.ts";
import { addLogBackupPrune } from "./log-backup-prune.ts";
import { addLogBackupStatus } from "./log-backup-status.ts";
import { addLogBackupVerify } from "./log-backup-verify.ts";

const addList = command({
  syntax: "list [store]",
  description:
    "List the segments of a log backup in the configured store, in a folder or in s3://bucket/prefix, oldest first",
  examples: ["cairn log backup list -f cairn.edn", "cairn log backup list ./cairn-data/checkpoints --json"],
  options: { ...CONFIGURATION_OPTIONS, log: BACKUP_LOG },
  async act(run, place) {
    const { store, logId } = await openBackup(run, place, { withoutLog: true });
    const { segments: listed } = await surveyBackup(store, logId);
    const segments = listed.map(({ name, first, last, bytes, modifiedAt }) => {
      return { name, first, last, bytes, writtenAt: new Date(modifiedAt).toISOString() };
    });
    const now = Date.now();
    await run.list(segments, [
      ["NAME", ({ name }) => name],
      ["FIRST", ({ first }) => formatCount(first), "right"],
      ["LAST", ({ last }) => formatCount(last), "right"],
      ["SIZE", ({ bytes }) => formatBytes(bytes), "right"],
      ["WRITTEN", ({ writtenAt }) => formatRelative(writtenAt, now)],
    ]);
  },
});

export const addLogBackup = commandGroup("backup", "Show, verify and prune the backup of the log", [
  addLogBackupStatus,
  addList,
  addLogBackupVerify,
  addLogBackupPrune,
]);
