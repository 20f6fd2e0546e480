import path from "node:path";

/** The paths within a db-dir: the folders, which belong to the node alone, and the file `holder`. */
export interface DbDirLayout {
  readonly live: string;
  /** The folder in which checkpoints are restored. */
  readonly staging: string;
  /** The folder of captures that are being saved as checkpoints, unless `checkpoint-dir` names another one. */
  readonly capture: string;
  /** An index is rebuilt here for comparison. It is not below `staging`, because every join sweeps that folder. */
  readonly rebuild: string;
  readonly quarantine: string;
  /** A LevelDB database that is held open by the process that uses the db-dir. */
  readonly lock: string;
  /** The records of the stores to which the node has saved (witnesses). */
  readonly stores: string;
  /** The file that names the process that holds `lock`. */
  readonly holder: string;
}

/** Returns the layout of a db-dir, which is defined only here. */
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
