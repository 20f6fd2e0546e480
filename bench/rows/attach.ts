import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { findCandidates, type StoredManifest } from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { freePort } from "@cairn/log-nats/testing";
import { type BucketPlace, BucketServer } from "../data/bucket.ts";
import { enlargeCheckpoint } from "../data/enlarged-checkpoint.ts";
import { type FilledLog, nodeConfig } from "../data/node-config.ts";
import { INDEX_STATE, itemAddress, updates } from "../data/workloads.ts";
import type { Workspace } from "../data/workspace.ts";
import { runStep } from "../harness/child-step.ts";
import { settle } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { GIGABIT_PER_SECOND } from "../harness/limited-link.ts";
import { joinAsProcess } from "../harness/node-process.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";

const OPENED = "opened where it is";
const ENLARGED = "opened, as if it had 30 GB";
const ATTACHED = "attached";
const READ = "attached, 8 readers";
const RESTORED = "attach off";
const ENLARGED_BYTES = 30e9;
const DELAY_MS = 20;
/** The fraction of the transactions that write a new document. The others write one again. */
const NEW_PART = 0.8;
const READERS = 8;
const READS_PER_SECOND = 50;

/** A log whose index is in a checkpoint in S3, which nodes reach over a link with the bandwidth and delay of a network. */
export interface RemoteCheckpoint {
  readonly log: FilledLog;
  readonly place: BucketPlace;
  readonly name: string;
  readonly manifest: StoredManifest;
  /** The size of the write-ahead logs in it. */
  readonly logBytes: number;
  /** The number of documents. */
  readonly keys: number;
}

/** The first read of a node that joins from S3, and the checkpoint as a database that is read where it is. */
export const attach: Row = {
  name: "attach",
  title: "reads of a node that still joins, and of a checkpoint, in S3 over 1 Gbit/s with 20 ms",
  async prepare(workspace) {
    const server = await remoteServer(workspace);
    const checkpoint = await makeRemoteCheckpoint(workspace, server, workspace.records.count);
    const { place, name, manifest, logBytes, keys } = checkpoint;
    workspace.onProgress(`the checkpoint has ${(manifest.archive.bytes / 1e9).toPrecision(3)} GB`);
    const places = { name, place, enlarged: server.place(randomUUID()) };
    const enlarged = await enlargeCheckpoint(places, manifest, ENLARGED_BYTES);
    return {
      contestants: [
        { name: OPENED, run: () => workspace.run("read checkpoint", { place, name, logBytes, keys }) },
        {
          name: ENLARGED,
          run: () => workspace.run("open enlarged", { checkpoint: enlarged, logBytes, keys }),
        },
        joining(ATTACHED, () => joinFrom(workspace, checkpoint)),
        joining(RESTORED, () => joinFrom(workspace, checkpoint, { attach: false })),
        joining(READ, () => joinUnderReads(workspace, checkpoint)),
      ],
      targets: [
        limit("opening, ms", { atMost: 300 }),
        limit("requests", { atMost: 12 }),
        limit("MB without logs", { atMost: 5 }),
        { of: { contestant: ENLARGED, metric: "opening, ms" }, atMost: 600 },
        limit("cold GET p50, ms", { atMost: 60 }),
        limit("GET p50, ms", { atMost: 45 }),
        limit("reads/s", { atLeast: 500 }),
        limit("MB above idle", { atMost: 130 }),
        { of: { contestant: ATTACHED, metric: "first read, s" }, atMost: 1 },
        {
          of: { contestant: ATTACHED, metric: "first read, s" },
          to: { contestant: RESTORED, metric: "s" },
          atMost: 0.1,
        },
        ratioTarget("s", ATTACHED, RESTORED),
        ratioTarget("s", READ, RESTORED, { atMost: 1.1 }),
      ],
    };
  },
};

function limit(metric: string, bounds: { readonly atLeast?: number; readonly atMost?: number }): Target {
  return { of: { contestant: OPENED, metric }, ...bounds };
}

function joining(name: string, run: () => Promise<Figures>): Contestant {
  return {
    name,
    run: async () => {
      await settle();
      return await run();
    },
  };
}

/** Starts a service in S3 that is reached over the link, until the workspace is closed. */
export async function remoteServer(workspace: Workspace): Promise<BucketServer> {
  const server = await BucketServer.start(GIGABIT_PER_SECOND, DELAY_MS);
  workspace.atClose(() => server.close());
  return server;
}

/** Writes `count` transactions with updates and an indexed field, and saves a checkpoint of their index. */
export async function makeRemoteCheckpoint(
  workspace: Workspace,
  server: BucketServer,
  count: number,
): Promise<RemoteCheckpoint> {
  const keys = Math.ceil(count * NEW_PART);
  const place = server.place(randomUUID());
  const content = { stream: `attach-${count}`, policies: INDEX_STATE, ...updates({ count, keys }) };
  const log = await workspace.fillLog(`the log of ${count} transactions`, content);
  const dir = workspace.fresh("indexed");
  workspace.onProgress("indexing the log, and saving a checkpoint");
  await workspace.run("replay workload", { dir, log, count });
  await workspace.run("checkpoint", { config: nodeConfig({ dir, log, checkpoints: place }) });
  await rm(dir, { recursive: true });
  const store = s3Store(place);
  try {
    for await (const { name, manifest } of findCandidates([store])) {
      const logs = manifest.files.filter((file) => file.name.endsWith(".log"));
      const logBytes = logs.reduce((sum, file) => sum + file.bytes, 0);
      return { log, place, name, manifest, logBytes, keys };
    }
  } finally {
    await store.close();
  }
  throw new Error("there is no checkpoint");
}

/** Measures how a node with an empty folder joins, which a single reader waits for. */
export async function joinFrom(
  workspace: Workspace,
  { log, place, keys }: RemoteCheckpoint,
  choice: { readonly attach?: boolean; readonly port?: number } = {},
): Promise<Figures> {
  const dir = workspace.fresh("joining");
  await mkdir(dir);
  const firstRead = `/api/v1/${itemAddress(Math.floor(keys / 2)).join("/")}?stale=true`;
  const figures = await joinAsProcess({
    dir,
    log,
    checkpoints: place,
    documents: keys,
    firstRead,
    ...choice,
  });
  await rm(dir, { recursive: true });
  return figures;
}

/** The same while several readers read random documents at a steady rate. */
async function joinUnderReads(workspace: Workspace, checkpoint: RemoteCheckpoint): Promise<Figures> {
  const port = await freePort();
  const load = { port, keys: checkpoint.keys, readers: READERS, perSecond: READS_PER_SECOND };
  const [reads, joined] = await Promise.all([
    runStep("read stale", load),
    joinFrom(workspace, checkpoint, { port }),
  ]);
  return { ...joined, ...reads };
}
