import { type AddCommand, addGroup } from "../options/command-options.ts";
import { addCheckpointCreate } from "./checkpoint-create.ts";
import { addCheckpointDiff } from "./checkpoint-diff.ts";
import { addCheckpointList } from "./checkpoint-list.ts";
import { addCheckpointPrune } from "./checkpoint-prune.ts";
import { addCheckpointRestore } from "./checkpoint-restore.ts";
import { addCheckpointShow } from "./checkpoint-show.ts";
import { addCheckpointVerify } from "./checkpoint-verify.ts";

/** `cairn checkpoint …`. */
export const addCheckpoint: AddCommand = (parent, terminal) => {
  const group = addGroup(
    parent,
    "checkpoint",
    "Look at checkpoints, make, verify, restore, prune and compare them",
  );
  for (const add of [
    addCheckpointList,
    addCheckpointShow,
    addCheckpointCreate,
    addCheckpointVerify,
    addCheckpointRestore,
    addCheckpointPrune,
    addCheckpointDiff,
  ]) {
    add(group, terminal);
  }
};
