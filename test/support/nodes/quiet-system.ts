import path from "node:path";
import { type CheckpointerOptions, filesystemStore } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import type { System } from "@cairn/engine";

const SIX_HOURS = 6 * 3_600_000;

/** The parts that a test chooses. {@link quietSystem} provides the others. */
export interface QuietSystem extends Pick<System, "nodeId" | "openTxLog"> {
  /** The folder of the index (`<nodeId>-index`) and the store (`checkpoints`). */
  readonly folder: string;
  readonly checkpointer?: Partial<CheckpointerOptions>;
}

/**
 * Returns the parts of a node without HTTP, on LevelDB, with a checkpoint folder. The node looks at the folder only
 * when the test requests it, because both the first look and the later ones take place only after six hours.
 */
export function quietSystem({ folder, nodeId, openTxLog, checkpointer }: QuietSystem): System {
  const dbDir = path.join(folder, `${nodeId}-index`);
  return {
    nodeId,
    dir: folder,
    commandLine: (command) => `cairn ${command}`,
    openTxLog,
    onLogMismatch: { regressed: "rebuild", different: "halt" },
    kvProvider: levelProvider(),
    dbDir,
    checkpointer: {
      store: filesystemStore({ path: path.join(folder, "checkpoints") }),
      approxFrequency: SIX_HOURS,
      firstLookAfter: SIX_HOURS,
      checkpointDir: path.join(dbDir, "capture"),
      keepDirBetweenCheckpoints: true,
      keepDirOnClose: false,
      checkpointOnClose: false,
      compression: "none",
      ...checkpointer,
    },
    http: undefined,
  };
}
