import { startNatsCluster } from "@cairn/log-nats/testing";
import { readOverHttp } from "../harness/http-reads.ts";
import { ratioTarget, type Row } from "../harness/row.ts";

const COUNT = 20_000;
const READS = 60_000;

const PLAIN = "as they come, embedded log";
const LATEST = "linearizable, embedded log";
const PLAIN_OF_THREE = "as they come, three servers";
const LATEST_OF_THREE = "linearizable, three servers";

/** The cost of linearizable reads. */
export const latest: Row = {
  name: "latest",
  title: "documents read over HTTP on 32 connections, with and without linearizable=true",
  async prepare(workspace) {
    const cluster = await startNatsCluster();
    workspace.atClose(() => cluster.close());
    const alone = { dir: workspace.fresh("latest") };
    const shared = { dir: workspace.fresh("latest"), servers: cluster.urls };
    for (const place of [alone, shared])
      await workspace.run("make executions", { ...place, count: COUNT, each: 500, indexed: false });
    const load = { count: COUNT, reads: READS };
    const linearizable = { ...load, linearizable: true };
    return {
      contestants: [
        { name: PLAIN, run: () => readOverHttp(workspace, alone, load) },
        { name: LATEST, run: () => readOverHttp(workspace, alone, linearizable) },
        { name: PLAIN_OF_THREE, run: () => readOverHttp(workspace, shared, load) },
        { name: LATEST_OF_THREE, run: () => readOverHttp(workspace, shared, linearizable) },
      ],
      targets: [
        ratioTarget("reads/s", LATEST, PLAIN, { atLeast: 0.5 }),
        ratioTarget("reads/s", LATEST_OF_THREE, PLAIN_OF_THREE, { atLeast: 0.3 }),
      ],
    };
  },
};
