import { commandGroup } from "../options/command.ts";
import { addDbBuckets } from "./db-buckets.ts";
import { addDbCheck } from "./db-check.ts";
import { addDbCompact } from "./db-compact.ts";
import { addDbDigest } from "./db-digest.ts";
import { addDbGet, addDbHistory } from "./db-get.ts";
import { addDbKeys } from "./db-keys.ts";
import { addDbStats } from "./db-stats.ts";

export const addDb = commandGroup(
  "db",
  "Inspect an index without its node: in a db-dir (even one in use), a LevelDB database or a checkpoint",
  [addDbCheck, addDbBuckets, addDbKeys, addDbGet, addDbHistory, addDbStats, addDbDigest, addDbCompact],
);
