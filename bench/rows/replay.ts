import { rm } from "node:fs/promises";
import { nodeConfig } from "../data/node-config.ts";
import { ratioTarget, type Row } from "../harness/row.ts";

const DRAIN = "drain";
const CAIRN = "cairn";

/** Building an index from the log, compared with only reading the same stream. */
export const replay: Row = {
  name: "replay",
  title: "an index from the log, against only draining the same stream",
  async prepare(workspace) {
    const log = await workspace.log();
    const documents = workspace.records.count;
    return {
      contestants: [
        { name: DRAIN, run: () => workspace.run("drain", log) },
        {
          name: CAIRN,
          run: async () => {
            const dir = workspace.fresh("replay");
            const figures = await workspace.run("replay", { config: nodeConfig({ dir, log }), documents });
            await rm(dir, { recursive: true });
            return figures;
          },
        },
      ],
      targets: [
        ratioTarget("records/s", CAIRN, DRAIN, { atLeast: 0.3 }),
        { of: { contestant: CAIRN, metric: "MB not mapped" }, atMost: 250 },
      ],
    };
  },
};
