import { commandGroup } from "../options/command.ts";
import { addLogBackup } from "./backup/log-backup.ts";
import { addLogCreate } from "./log-create.ts";
import { addLogOrphans } from "./log-orphans.ts";
import { addLogRecover } from "./log-recover.ts";
import { addLogStatus } from "./log-status.ts";
import { addLogTrim } from "./log-trim.ts";

export const addLog = commandGroup("log", "Show, trim, back up, recover or create the transaction log", [
  addLogStatus,
  addLogCreate,
  addLogTrim,
  addLogRecover,
  addLogOrphans,
  addLogBackup,
]);
