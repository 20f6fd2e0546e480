import { rm } from "node:fs/promises";
import { join } from "node:path";
import { levelDir, type Workspace } from "../data/workspace.ts";
import { copyDirectory } from "../harness/command.ts";
import type { Contestant, Row } from "../harness/row.ts";

const CAIRN = "cairn checkpoint";
const TAR = "links + tar cf + sync";
const LMDB = "lmdb backup + sync";

/** The slowdown that a backup causes for a steady writer. */
export const writer: Row = {
  name: "writer",
  title: "1,000 batches of 10 rows a second, before and during five backups",
  async prepare(workspace) {
    const level = levelDir(await workspace.index());
    const lmdb = await workspace.lmdb();
    const records = workspace.records.count;
    return {
      contestants: [
        onCopy(workspace, TAR, level, (place) =>
          workspace.run("write LevelDB", { ...place, records, backup: "tar" }),
        ),
        onCopy(workspace, CAIRN, level, (place) =>
          workspace.run("write LevelDB", { ...place, records, backup: "checkpoint" }),
        ),
        onCopy(workspace, LMDB, lmdb, (place) => workspace.run("write lmdb", { ...place, records })),
      ],
      targets: [CAIRN, TAR, LMDB].map((contestant) => ({
        of: { contestant, metric: "p99 during, µs" },
        to: { contestant, metric: "p99 before, µs" },
        ...(contestant === CAIRN ? { atMost: 1.5 } : {}),
      })),
    };
  },
};

/** Returns a contestant that writes to a copy of `original`, so that every round begins with the same data. */
function onCopy(
  workspace: Workspace,
  name: string,
  original: string,
  measure: (place: { dir: string; backupDir: string }) => ReturnType<Contestant["run"]>,
): Contestant {
  return {
    name,
    run: async () => {
      const dir = workspace.fresh("writer");
      await copyDirectory(original, dir);
      const figures = await measure({ dir, backupDir: join(workspace.dir, "backups") });
      await rm(dir, { recursive: true });
      await rm(join(workspace.dir, "backups"), { recursive: true, force: true });
      return figures;
    },
  };
}
