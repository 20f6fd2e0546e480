import { mkdir } from "node:fs/promises";
import {
  type BesideT4,
  cairnServer,
  CONNECTIONS,
  DOCUMENT,
  openBesideT4,
  putEach,
} from "../data/beside-t4.ts";
import { settle } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { startNodeIn } from "../harness/node-process.ts";
import { processorSeconds } from "../harness/process-use.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";
import { startT4 } from "../harness/t4.ts";
import type { YcsbServer } from "../harness/ycsb.ts";
import { EVEN_CAIRN, EVEN_T4, JOIN_CAIRN, JOIN_T4, joinContestants, LOG_CAIRN, LOG_T4 } from "./t4-joins.ts";
import { LOAD_CAIRN, LOAD_T4, loadContestants } from "./t4-loads.ts";

const SECONDS = 8;
const CAIRN = "cairn, HTTP";
const T4 = "T4, gRPC";

/** Cairn beside T4, whose log and checkpoints are in S3. */
export const t4: Row = {
  name: "t4",
  title: "load, checkpoints, joins, puts and reads, beside T4",
  async prepare(workspace) {
    const beside = await openBesideT4(workspace, workspace.records.count);
    const joins = await joinContestants(beside);
    return {
      contestants: [...joins, ...loadContestants(beside), ...(await servingContestants(beside))],
      targets: TARGETS,
    };
  },
};

const TARGETS: readonly Target[] = [
  { of: { contestant: JOIN_CAIRN, metric: "first read, s" }, atMost: 1 },
  { of: { contestant: JOIN_CAIRN, metric: "s" }, atMost: 1.3 },
  {
    of: { contestant: JOIN_CAIRN, metric: "first read, s" },
    to: { contestant: JOIN_T4, metric: "s" },
    atMost: 1,
  },
  ratioTarget("s", JOIN_CAIRN, JOIN_T4, { atMost: 1 }),
  ratioTarget("s", EVEN_CAIRN, EVEN_T4),
  ratioTarget("s", LOG_CAIRN, LOG_T4, { atMost: 2.2 }),
  ...[
    "puts/s",
    "load, MB up",
    "checkpoint, s",
    "checkpoint, MB",
    "1 % again: log, MB up",
    "1 % again: checkpoint, s",
    "1 % again: checkpoint, MB up",
  ].map((metric) => ratioTarget(metric, LOAD_CAIRN, LOAD_T4)),
  ratioTarget("puts/s", puts(CAIRN, CONNECTIONS), puts(T4, CONNECTIONS), { atLeast: 1 }),
  ratioTarget("cpu us each", puts(CAIRN, CONNECTIONS), puts(T4, CONNECTIONS)),
  ratioTarget("p50, ms", puts(CAIRN, 1), puts(T4, 1)),
  ratioTarget("reads/s", reads(CAIRN), reads(T4), { atLeast: 2.5 }),
];

function puts(name: string, connections: number): string {
  return `puts, ${connections} at once: ${name}`;
}

function reads(name: string): string {
  return `reads: ${name}`;
}

/** Puts and reads. Both nodes flush each put to the local disk before they acknowledge it, and have no S3. */
async function servingContestants(beside: BesideT4): Promise<Contestant[]> {
  const { workspace, program, clients, records } = beside;
  const dir = workspace.fresh("t4");
  await mkdir(dir);
  const node = await startT4(program, { dir });
  workspace.atClose(() => node.stop());
  const servers: readonly (readonly [string, YcsbServer])[] = [
    [CAIRN, cairnServer(await startNodeIn(workspace, "beside-t4"))],
    [T4, node.client],
  ];
  for (const [name, server] of servers) {
    workspace.onProgress(`loading ${records} records: ${name}`);
    await clients(server, { workload: "load", records, ...DOCUMENT });
  }
  let put = records;
  const putting = (name: string, server: YcsbServer, workers: number): Contestant => ({
    name: puts(name, workers),
    run: () =>
      measured(server, async () => {
        const done = await putEach(beside, server, { from: put, records: 1e9, seconds: SECONDS, workers });
        put += done.operations + workers;
        return { "puts/s": done.operations / done.seconds, "p50, ms": done.p50, "p99, ms": done.p99 };
      }),
  });
  const reading = (name: string, server: YcsbServer): Contestant => ({
    name: reads(name),
    run: () =>
      measured(server, async () => {
        const load = { workload: "C", records, uniform: true, workers: CONNECTIONS, seconds: SECONDS };
        const done = await clients(server, load);
        return { "reads/s": done.operations / done.seconds };
      }),
  });
  return [
    ...servers.map(([name, server]) => putting(name, server, CONNECTIONS)),
    ...servers.map(([name, server]) => putting(name, server, 1)),
    ...servers.map(([name, server]) => reading(name, server)),
  ];
}

/** Adds the processor time of the server for each of its operations to a rate and its latencies. */
async function measured(server: YcsbServer, load: () => Promise<Figures>): Promise<Figures> {
  await settle();
  const begin = processorSeconds(server.pid);
  const figures = await load();
  const [rate = Number.NaN] = Object.values(figures);
  return { ...figures, "cpu us each": (1e6 * (processorSeconds(server.pid) - begin)) / (rate * SECONDS) };
}
