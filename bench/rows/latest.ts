import { freePort, startNatsCluster } from "@cairn/node/testing";
import type { Workspace } from "../data/workspace.ts";
import type { Figures } from "../harness/figures.ts";
import type { Row, Target } from "../harness/row.ts";

const COUNT = 20_000;
const READS = 60_000;

const PLAIN = "as they come, embedded log";
const LATEST = "linearizable, embedded log";
const PLAIN_OF_THREE = "as they come, three servers";
const LATEST_OF_THREE = "linearizable, three servers";

/** What it costs to read what was acknowledged last, in place of what the node has. */
export const latest: Row = {
  name: "latest",
  title: "documents read over HTTP on 32 connections, linearizable and as they come",
  async prepare(workspace) {
    const cluster = await startNatsCluster();
    workspace.atClose(() => cluster.close());
    const alone = { dir: workspace.fresh("latest") };
    const shared = { dir: workspace.fresh("latest"), servers: cluster.urls };
    for (const place of [alone, shared])
      await workspace.run("make executions", { ...place, count: COUNT, each: 500, indexed: false });
    return {
      contestants: [
        { name: PLAIN, run: () => ask(workspace, alone, false) },
        { name: LATEST, run: () => ask(workspace, alone, true) },
        { name: PLAIN_OF_THREE, run: () => ask(workspace, shared, false) },
        { name: LATEST_OF_THREE, run: () => ask(workspace, shared, true) },
      ],
      targets: [target(LATEST, PLAIN, 0.5), target(LATEST_OF_THREE, PLAIN_OF_THREE, 0.3)],
    };
  },
};

function target(contestant: string, to: string, atLeast: number): Target {
  const metric = "reads/s";
  return { of: { contestant, metric }, to: { contestant: to, metric }, atLeast };
}

async function ask(
  workspace: Workspace,
  place: { readonly dir: string; readonly servers?: readonly string[] },
  linearizable: boolean,
): Promise<Figures> {
  const port = await freePort();
  const serving = workspace.run("serve reads", { ...place, port });
  const asking = workspace.run("ask reads", { port, count: COUNT, reads: READS, linearizable });
  const [, asked] = await Promise.all([serving, asking]);
  return asked;
}
