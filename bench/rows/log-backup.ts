import { rm } from "node:fs/promises";
import { join } from "node:path";
import { nodeConfig } from "../data/node-config.ts";
import type { Workspace } from "../data/workspace.ts";
import { ratioTarget, type Contestant, type Row } from "../harness/row.ts";

const FROM_LOG = "from NATS";
const FROM_BACKUP = "from its backup";
const CHANGES = "1 % changed";
const ALONE = "no backup";
const BACKED_UP = "backup each second";
/** The part of the documents that change. */
const CHANGED_PART = 0.01;
const WRITER_SECONDS = 10;

/** Building an index from segments in a folder, compared with building it from the log itself. */
export const logBackup: Row = {
  name: "log-backup",
  title: "an index from the segments of a log, against the log itself",
  async prepare(workspace) {
    const log = await workspace.log();
    const backup = workspace.fresh("backup");
    const filling = workspace.fresh("filling");
    const config = nodeConfig({ dir: filling, log, checkpoints: backup, backUp: "PT1S" });
    await workspace.run("fill backup", { config });
    await rm(filling, { recursive: true });
    const replay = (name: string, from: { readonly fromBackup?: string }): Contestant => ({
      name,
      run: async () => {
        const dir = workspace.fresh("replay");
        const figures = await workspace.run("replay", {
          config: nodeConfig({ dir, log, ...from }),
          documents: workspace.records.count,
        });
        await rm(dir, { recursive: true });
        return figures;
      },
    });
    return {
      contestants: [replay(FROM_LOG, {}), replay(FROM_BACKUP, { fromBackup: backup })],
      targets: [
        ratioTarget("records/s", FROM_BACKUP, FROM_LOG, { atLeast: 1 }),
        ratioTarget("peak MB", FROM_BACKUP, FROM_LOG, { atMost: 1 }),
      ],
    };
  },
};

/** The bytes that a backup writes, compared with those of the transactions. */
export const logBackupBytes: Row = {
  name: "log-backup-bytes",
  title:
    "the bytes that a backup writes after 1 % of the documents has changed, against those of the changes",
  prepare: (workspace) =>
    Promise.resolve({
      contestants: [
        {
          name: CHANGES,
          run: () =>
            onNewLog(workspace, (dir) =>
              workspace.run("change and back up", {
                config: onOwnLog(dir, "PT2S"),
                records: workspace.records.count,
                changes: Math.round(workspace.records.count * CHANGED_PART),
              }),
            ),
        },
      ],
      targets: [bytesTarget("MB written", 1.2), bytesTarget("MB written and merged", 2.3)],
    }),
};

/** The latency of a steady writer with and without a backup of its log. */
export const logBackupWriter: Row = {
  name: "log-backup-writer",
  title: "500 transactions a second, until they can be read, with and without a backup of their log",
  prepare: (workspace) => {
    const write = (name: string, every: string | undefined): Contestant => ({
      name,
      run: () =>
        onNewLog(workspace, (dir) =>
          workspace.run("submit steadily", { config: onOwnLog(dir, every), seconds: WRITER_SECONDS }),
        ),
    });
    return Promise.resolve({
      contestants: [write(ALONE, undefined), write(BACKED_UP, "PT1S")],
      targets: [ratioTarget("p99, ms", BACKED_UP, ALONE, { atMost: 1.1 })],
    });
  },
};

function bytesTarget(metric: string, atMost: number) {
  return {
    of: { contestant: CHANGES, metric },
    to: { contestant: CHANGES, metric: "MB of changes" },
    atMost,
  };
}

/** Returns the configuration of a node with an embedded log. */
function onOwnLog(dir: string, backUp: string | undefined): object {
  return nodeConfig({ dir, checkpoints: join(dir, "store"), ...(backUp === undefined ? {} : { backUp }) });
}

async function onNewLog(
  workspace: Workspace,
  measure: (dir: string) => ReturnType<Contestant["run"]>,
): ReturnType<Contestant["run"]> {
  const dir = workspace.fresh("backup-node");
  const figures = await measure(dir);
  await rm(dir, { recursive: true });
  return figures;
}
