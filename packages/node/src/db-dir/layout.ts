import path from "node:path";

/** The paths within a db-dir: folders that belong to the node alone, and the file `holder`. */
export interface DbDirLayout {
  /** The index. */
  readonly live: string;
  /** Checkpoints being restored. */
  readonly staging: string;
  /** Captures being saved as checkpoints, unless `checkpoint-dir` names another place. */
  readonly capture: string;
  /** An index being rebuilt for comparison. Not below `staging`, which every join sweeps. */
  readonly rebuild: string;
  /** Indexes that were moved aside. */
  readonly quarantine: string;
  /** A LevelDB that is held open by the process which uses the db-dir. */
  readonly lock: string;
  /** Records of the stores that the node has saved to (witnesses). */
  readonly stores: string;
  /** Names the process that holds `lock`. */
  readonly holder: string;
}

/** Returns the layout of a db-dir, which is written down here alone. */
export function dbDirLayout(dbDir: string): DbDirLayout {
  const at = (name: string): string => path.join(dbDir, name);
  return {
    live: at("live"),
    staging: at("staging"),
    capture: at("capture"),
    rebuild: at("rebuild"),
    quarantine: at("quarantine"),
    lock: at("lock"),
    stores: at("stores"),
    holder: at("holder.json"),
  };
}
