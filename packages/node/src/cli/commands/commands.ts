import type { AddCommand } from "../command-options.ts";
import { addCheckpoint } from "./checkpoint.ts";
import { addConfig } from "./config.ts";
import { addGet } from "./get.ts";
import { addHistory } from "./history.ts";
import { addList } from "./list.ts";
import { addLoad } from "./load.ts";
import { addLog } from "./log.ts";
import { addStart } from "./start.ts";
import { addStatus } from "./status.ts";
import { addTx } from "./tx.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly AddCommand[] = [
  addStart,
  addStatus,
  addConfig,
  addLoad,
  addTx,
  addGet,
  addList,
  addHistory,
  addCheckpoint,
  addLog,
];
