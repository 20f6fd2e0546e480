import { mkdir, rm } from "node:fs/promises";
import { levelDir, type Workspace } from "../data/workspace.ts";
import { joinAsProcess } from "../harness/node-process.ts";
import { type Contestant, ratioTarget, type Row } from "../harness/row.ts";
import { settle } from "../harness/command.ts";

const RESTORED = "cairn, from a checkpoint";
const REPLAYED = "cairn, by replay";
const COPIED = "copy + sync + open";
const WATCHED = "NATS KV watch";

/** The time from the start of a node's process until it is ready, compared with other ways to load the same data. */
export const join: Row = {
  name: "join",
  title: "from the start of a process to ready",
  async prepare(workspace) {
    const from = levelDir(await workspace.index());
    const checkpoints = await workspace.checkpoints();
    const bucket = await workspace.bucket();
    const copied: Contestant = {
      name: COPIED,
      run: async () => {
        const to = workspace.fresh("copy");
        const figures = await workspace.run("copy and open", { from, to });
        await rm(to, { recursive: true });
        return figures;
      },
    };
    return {
      contestants: [
        copied,
        joining(workspace, RESTORED, checkpoints),
        { name: WATCHED, run: () => workspace.run("watch bucket", bucket) },
        joining(workspace, REPLAYED),
      ],
      targets: [
        ratioTarget("s", REPLAYED, RESTORED, { atLeast: 10 }),
        ratioTarget("s", RESTORED, COPIED, { atMost: 4 }),
      ],
    };
  },
};

function joining(workspace: Workspace, name: string, checkpoints?: string): Contestant {
  return {
    name,
    run: async () => {
      const log = await workspace.log();
      const dir = workspace.fresh("joining");
      await mkdir(dir);
      await settle();
      const figures = await joinAsProcess({
        dir,
        log,
        documents: workspace.records.count,
        ...(checkpoints === undefined ? {} : { checkpoints }),
      });
      await rm(dir, { recursive: true });
      return figures;
    },
  };
}
