import { rm } from "node:fs/promises";
import { nodeConfig } from "../data/node-config.ts";
import { levelDir } from "../data/workspace.ts";
import { flush, run, seconds, settle } from "../harness/command.ts";
import { ratioTarget, type Row } from "../harness/row.ts";

const TAR = "tar cf + sync";
const CAIRN = "cairn";
const LMDB = "lmdb backup + sync";

/** Saving a checkpoint to a folder, compared with an archive of the same directory without digests. */
export const checkpoint: Row = {
  name: "checkpoint",
  title: "a node saves a checkpoint to a folder, against tar of the same directory and a backup of lmdb",
  async prepare(workspace) {
    const dir = await workspace.index();
    const log = await workspace.log();
    const lmdb = await workspace.lmdb();
    return {
      contestants: [
        {
          name: TAR,
          run: async () => {
            const archive = workspace.fresh("archive");
            await settle();
            const s = await seconds(async () => {
              await run("tar", ["-cf", archive, "-C", levelDir(dir), "."]);
              await flush(archive);
            });
            await rm(archive);
            return { s };
          },
        },
        {
          name: CAIRN,
          run: async () => {
            const checkpoints = workspace.fresh("checkpoints");
            const config = nodeConfig({ dir, log, checkpoints });
            const figures = await workspace.run("checkpoint", { config });
            await rm(checkpoints, { recursive: true });
            return figures;
          },
        },
        {
          name: LMDB,
          run: async () => {
            const backupDir = workspace.fresh("backup");
            const figures = await workspace.run("back up lmdb", { dir: lmdb, backupDir });
            await rm(backupDir, { recursive: true });
            return figures;
          },
        },
      ],
      targets: [
        ratioTarget("s", CAIRN, TAR, { atMost: 1.5 }),
        ratioTarget("s", CAIRN, LMDB),
        { of: { contestant: CAIRN, metric: "MB above idle" }, atMost: 128 },
      ],
    };
  },
};
