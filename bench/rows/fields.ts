import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ratioTarget, type Row } from "../harness/row.ts";

const WITHOUT = "without";
const WITH = "two indexed fields";

/** Building an index from the log with two indexed fields, compared with building it without them. */
export const fields: Row = {
  name: "fields",
  title: "an index from the log with two indexed fields and their counters, against without",
  async prepare(workspace) {
    const { count } = workspace.records;
    const dirs = { [WITHOUT]: workspace.fresh("plain"), [WITH]: workspace.fresh("indexed") };
    for (const [name, dir] of Object.entries(dirs)) {
      await workspace.run("make executions", { dir, count, each: 1, indexed: name === WITH });
    }
    return {
      contestants: Object.entries(dirs).map(([name, dir]) => ({
        name,
        run: async () => {
          await rm(join(dir, "index"), { recursive: true });
          return await workspace.run("replay executions", { dir, count });
        },
      })),
      targets: [ratioTarget("records/s", WITH, WITHOUT, { atLeast: 0.7 })],
    };
  },
};
