import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { flush, run, seconds, settle } from "../harness/command.ts";
import { ratioTarget, type Row } from "../harness/row.ts";

const TAR = "tar xf + sync";
const CAIRN = "cairn";

/** Restoring a checkpoint from a folder, compared with unpacking its archive without verifying it. */
export const restore: Row = {
  name: "restore",
  title: "a checkpoint from a folder, verified, against tar of the same archive",
  async prepare(workspace) {
    const checkpoints = await workspace.checkpoints();
    const archive = join(checkpoints, await archiveIn(checkpoints));
    return {
      contestants: [
        {
          name: TAR,
          run: async () => {
            const dir = workspace.fresh("unpacked");
            await mkdir(dir);
            await settle();
            const s = await seconds(async () => {
              await run("tar", ["-xf", archive, "-C", dir]);
              await flush(dir, { files: true });
            });
            await rm(dir, { recursive: true });
            return { s };
          },
        },
        {
          name: CAIRN,
          run: async () => {
            const dir = workspace.fresh("restored");
            const figures = await workspace.run("restore", { checkpoints, dir });
            await rm(dir, { recursive: true });
            return figures;
          },
        },
      ],
      targets: [
        ratioTarget("s", CAIRN, TAR, { atMost: 1.5 }),
        { of: { contestant: CAIRN, metric: "MB above idle" }, atMost: 128 },
      ],
    };
  },
};

async function archiveIn(checkpoints: string): Promise<string> {
  const archive = (await readdir(checkpoints)).find((name) => name.endsWith(".tar"));
  if (archive === undefined) throw new Error(`there is no archive in ${checkpoints}`);
  return archive;
}
