import { commandGroup } from "../options/command.ts";
import { addCheckpointCreate } from "./checkpoint-create.ts";
import { addCheckpointList } from "./checkpoint-list.ts";
import { addCheckpointPrune } from "./checkpoint-prune.ts";
import { addCheckpointRestore } from "./checkpoint-restore.ts";
import { addCheckpointShow } from "./checkpoint-show.ts";
import { addCheckpointVerify } from "./checkpoint-verify.ts";

export const addCheckpoint = commandGroup(
  "checkpoint",
  "List, show, create, verify, restore and prune checkpoints",
  [
    addCheckpointList,
    addCheckpointShow,
    addCheckpointCreate,
    addCheckpointVerify,
    addCheckpointRestore,
    addCheckpointPrune,
  ],
);
