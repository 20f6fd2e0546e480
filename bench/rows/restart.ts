import { ratioTarget, type Row } from "../harness/row.ts";

const FEW = "few";
const MANY = "many";
const FEW_EXECUTIONS = 10_000;
const FEWEST = "1,000";

/** The start of a node on an index with many executions, and lists of executions, compared with an index with few. */
export const restart: Row = {
  name: "restart",
  title: "a start until ready with every counter known, and lists of 100, with many executions against few",
  async prepare(workspace) {
    const { count } = workspace.records;
    const make = async (size: number): Promise<{ dir: string; count: number }> => {
      const dir = workspace.fresh(`executions-${size}`);
      await workspace.run("make executions", { dir, count: size, each: 500, indexed: true });
      // The first start flushes the data that the previous process had only in its write-ahead log. The amount of this
      // data does not depend on the number of executions.
      await workspace.run("restart node", { dir, count: size });
      return { dir, count: size };
    };
    const few = await make(FEW_EXECUTIONS);
    const many = await make(count);
    const fewest = await make(1_000);
    return {
      contestants: [
        { name: FEW, run: () => workspace.run("restart node", few) },
        {
          name: MANY,
          run: async () => ({
            ...(await workspace.run("restart node", many)),
            ...(await workspace.run("list executions", many)),
          }),
        },
        { name: FEWEST, run: () => workspace.run("list executions", fewest) },
      ],
      targets: [
        { of: { contestant: MANY, metric: "s" }, atMost: 2 },
        ratioTarget("s", MANY, FEW, { atMost: 1.5 }),
        ratioTarget("list ms", MANY, FEWEST, { atMost: 1.5 }),
        ratioTarget("where ms", MANY, FEWEST, { atMost: 1.5 }),
      ],
    };
  },
};
