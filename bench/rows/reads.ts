import { FILLINGS } from "../data/executions.ts";
import { readOverHttp } from "../harness/http-reads.ts";
import { ratioTarget, type Row } from "../harness/row.ts";

const LEVEL = "classic-level";
const EMBEDDED = "cairn, embedded";
const LEVEL_ALONE = "classic-level, sequential";
const EMBEDDED_ALONE = "cairn, sequential";
const LEVEL_DECODED = "classic-level, beyond ASCII";
const EMBEDDED_DECODED = "cairn, beyond ASCII";
const CONSTANT = "fastify, a constant";
const HTTP = "cairn, over HTTP";

const CALLERS = 32;
const EMBEDDED_READS = 500_000;
const HTTP_READS = 200_000;

/** Reading documents by their keys, compared with the underlying store and with a server that looks up nothing. */
export const reads: Row = {
  name: "reads",
  title: "documents read by random keys, 32 concurrently, and sequentially",
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
    const overHttp = { count, reads: HTTP_READS };
    return {
      contestants: [
        { name: LEVEL, run: () => workspace.run("read from LevelDB", points) },
        { name: EMBEDDED, run: () => workspace.run("read through node", points) },
        { name: LEVEL_ALONE, run: () => workspace.run("read from LevelDB", alone) },
        { name: EMBEDDED_ALONE, run: () => workspace.run("read through node", alone) },
        { name: LEVEL_DECODED, run: () => workspace.run("read from LevelDB", decoded) },
        { name: EMBEDDED_DECODED, run: () => workspace.run("read through node", decoded) },
        { name: CONSTANT, run: () => readOverHttp(workspace, {}, overHttp) },
        { name: HTTP, run: () => readOverHttp(workspace, { dir }, overHttp) },
      ],
      targets: [
        ratioTarget("reads/s", EMBEDDED, LEVEL, { atLeast: 0.8 }),
        ratioTarget("reads/s", EMBEDDED_ALONE, LEVEL_ALONE, { atLeast: 0.8 }),
        ratioTarget("reads/s", EMBEDDED_DECODED, LEVEL_DECODED, { atLeast: 0.8 }),
        ratioTarget("reads/s", HTTP, CONSTANT, { atLeast: 0.7 }),
      ],
    };
  },
};
