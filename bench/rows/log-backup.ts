import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { BucketServer } from "../data/bucket.ts";
import { succeeds } from "../harness/command.ts";
import { GIGABIT_PER_SECOND } from "../harness/limited-link.ts";
import { nodeConfig, type StorePlace } from "../data/node-config.ts";
import { levelDir, type Workspace } from "../data/workspace.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";

const FROM_LOG = "from NATS";
const FROM_BACKUP = "from its backup";
const FROM_S3 = "from its backup, S3 over 1 Gbit/s";
const CHANGES = "1 % changed";
const ROCKSDB = "RocksDB's BackupEngine";
const ALONE = "no backup";
const BACKED_UP = "backup each second";
/** The fraction of the documents that change. */
const CHANGED_PART = 0.01;
const WRITER_SECONDS = 10;

/** Building an index from segments in a folder and in S3, compared with building it from the log itself. */
export const logBackup: Row = {
  name: "log-backup",
  title: "an index from the segments of a log, against the log itself",
  async prepare(workspace) {
    const log = await workspace.log();
    const server = await BucketServer.start(GIGABIT_PER_SECOND);
    workspace.atClose(() => server.close());
    const folder = workspace.fresh("backup");
    const bucket = server.place(randomUUID());
    for (const checkpoints of [folder, bucket]) {
      const dir = workspace.fresh("filling");
      await workspace.run("fill backup", { config: nodeConfig({ dir, log, checkpoints, backUp: "PT1S" }) });
      await rm(dir, { recursive: true });
    }
    const replay = (name: string, from: { readonly fromBackup?: StorePlace }): Contestant => ({
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
      contestants: [
        replay(FROM_LOG, {}),
        replay(FROM_BACKUP, { fromBackup: folder }),
        replay(FROM_S3, { fromBackup: bucket }),
      ],
      targets: [
        ratioTarget("records/s", FROM_BACKUP, FROM_LOG, { atLeast: 1 }),
        ratioTarget("records/s", FROM_S3, FROM_LOG, { atLeast: 0.8 }),
        ratioTarget("peak MB", FROM_BACKUP, FROM_LOG, { atMost: 1 }),
      ],
    };
  },
};

/** The bytes that a backup writes, compared with the bytes of the transactions. */
export const logBackupBytes: Row = {
  name: "log-backup-bytes",
  title:
    "the bytes that a backup writes after 1 % of the documents has changed, against those of the changes",
  prepare: async (workspace) => {
    const changing = (name: string, measure: (dir: string) => ReturnType<Contestant["run"]>): Contestant => ({
      name,
      run: () => onNewLog(workspace, measure),
    });
    const contestants = [
      changing(CHANGES, (dir) =>
        workspace.run("change and back up", {
          config: onOwnLog(dir, "PT2S"),
          withoutBackup: onOwnLog(dir, undefined),
          index: levelDir(dir),
          ...changesOf(workspace),
        }),
      ),
    ];
    const targets = [
      bytesTarget(CHANGES, "MB written", 1.2),
      bytesTarget(CHANGES, "MB written and merged", 2.3),
      bytesTarget(CHANGES, "MB written once compacted", 1.2),
      bytesTarget(CHANGES, "MB written and merged once compacted", 2.3),
    ];
    if (succeeds("ldb", ["--version"])) {
      contestants.push(
        changing(ROCKSDB, (dir) => workspace.run("back up rocksdb", { dir, ...changesOf(workspace) })),
      );
      targets.push(bytesTarget(ROCKSDB, "MB written"), bytesTarget(ROCKSDB, "MB written once compacted"));
    } else
      workspace.onProgress("there is no ldb on the PATH (Debian: rocksdb-tools), so RocksDB is left out");
    return { contestants, targets };
  },
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

/** Returns the number of records that are put, and the number of records that are changed. */
function changesOf({ records: { count } }: Workspace): { records: number; changes: number } {
  return { records: count, changes: Math.round(count * CHANGED_PART) };
}

function bytesTarget(contestant: string, metric: string, atMost?: number): Target {
  return {
    of: { contestant, metric },
    to: { contestant: CHANGES, metric: "MB of changes" },
    ...(atMost === undefined ? {} : { atMost }),
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
