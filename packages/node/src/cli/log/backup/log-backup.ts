import { commandGroup } from "../../options/command.ts";
import { addLogBackupList } from "./log-backup-list.ts";
import { addLogBackupPrune } from "./log-backup-prune.ts";
import { addLogBackupStatus } from "./log-backup-status.ts";
import { addLogBackupVerify } from "./log-backup-verify.ts";

export const addLogBackup = commandGroup("backup", "Show, verify and prune the backup of the log", [
  addLogBackupStatus,
  addLogBackupList,
  addLogBackupVerify,
  addLogBackupPrune,
]);
