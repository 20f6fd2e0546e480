import { freePort } from "@cairn/node/testing";
import { FILLINGS } from "../data/executions.ts";
import type { Workspace } from "../data/workspace.ts";
import type { Row } from "../harness/row.ts";
import type { Figures } from "../harness/figures.ts";

const LEVEL = "classic-level";
const EMBEDDED = "cairn, embedded";
const LEVEL_ALONE = "classic-level, one by one";
const EMBEDDED_ALONE = "cairn, one by one";
const LEVEL_DECODED = "classic-level, beyond ASCII";
const EMBEDDED_DECODED = "cairn, beyond ASCII";
const CONSTANT = "fastify, a constant";
const HTTP = "cairn, over HTTP";

const CALLERS = 32;
const EMBEDDED_READS = 500_000;
const HTTP_READS = 200_000;

/** Reading documents by their keys, against the store below and against a server that has nothing to look up. */
export const reads: Row = {
  name: "reads",
  title: "documents read by their keys at random, 32 at once, and one after the other",
  async prepare(workspace) {
    const { count } = workspace.records;
    const dir = workspace.fresh("read");
    await workspace.run("make executions", { dir, count, each: 500, indexed: false });
    const decodedDir = workspace.fresh("read");
    const filling = FILLINGS.twoBytes;
    await workspace.run("make executions", { dir: decodedDir, count, each: 500, indexed: false, filling });
    const points = { dir, count, reads: EMBEDDED_READS, callers: CALLERS };
    const alone = { ...points, callers: 1 };
    const decoded = { ...points, dir: decodedDir };
    return {
      contestants: [
        { name: LEVEL, run: () => workspace.run("read from LevelDB", points) },
        { name: EMBEDDED, run: () => workspace.run("read through node", points) },
        { name: LEVEL_ALONE, run: () => workspace.run("read from LevelDB", alone) },
        { name: EMBEDDED_ALONE, run: () => workspace.run("read through node", alone) },
        { name: LEVEL_DECODED, run: () => workspace.run("read from LevelDB", decoded) },
        { name: EMBEDDED_DECODED, run: () => workspace.run("read through node", decoded) },
        { name: CONSTANT, run: () => overHttp(workspace, count) },
        { name: HTTP, run: () => overHttp(workspace, count, dir) },
      ],
      targets: [
        {
          of: { contestant: EMBEDDED, metric: "reads/s" },
          to: { contestant: LEVEL, metric: "reads/s" },
          atLeast: 0.8,
        },
        {
          of: { contestant: EMBEDDED_ALONE, metric: "reads/s" },
          to: { contestant: LEVEL_ALONE, metric: "reads/s" },
          atLeast: 0.8,
        },
        {
          of: { contestant: EMBEDDED_DECODED, metric: "reads/s" },
          to: { contestant: LEVEL_DECODED, metric: "reads/s" },
          atLeast: 0.8,
        },
        {
          of: { contestant: HTTP, metric: "reads/s" },
          to: { contestant: CONSTANT, metric: "reads/s" },
          atLeast: 0.7,
        },
      ],
    };
  },
};

async function overHttp(workspace: Workspace, count: number, dir?: string): Promise<Figures> {
  const port = await freePort();
  const serving = workspace.run("serve reads", { port, ...(dir === undefined ? {} : { dir }) });
  const asking = workspace.run("ask reads", { port, count, reads: HTTP_READS });
  const [, asked] = await Promise.all([serving, asking]);
  return asked;
}
