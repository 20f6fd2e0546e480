/**
 * The steps that can run in a separate process, by name. Each module is loaded on demand, so that a step's memory does
 * not include the modules of other steps.
 */
export const STEPS = {
  drain: async () => (await import("./drain.ts")).drainLog,
  replay: async () => (await import("./replay.ts")).replayLog,
  checkpoint: async () => (await import("./checkpoint.ts")).takeCheckpointOnce,
  restore: async () => (await import("./restore.ts")).restoreOnce,
  "copy and open": async () => (await import("./copy-and-open.ts")).copyAndOpen,
  "s3 upload": async () => (await import("./s3.ts")).uploadPlainly,
  "s3 download": async () => (await import("./s3.ts")).downloadPlainly,
  "s3 save": async () => (await import("./s3.ts")).saveToS3,
  "s3 restore": async () => (await import("./s3.ts")).restoreFromS3,
  "read checkpoint": async () => (await import("./read-checkpoint.ts")).readCheckpoint,
  "open enlarged": async () => (await import("./read-checkpoint.ts")).openEnlarged,
  "read stale": async () => (await import("./read-stale.ts")).readStale,
  "watch bucket": async () => (await import("./watch-bucket.ts")).watchBucket,
  "serve watches": async () => (await import("./serve-watches.ts")).serveWatches,
  "watch node": async () => (await import("./watch-node.ts")).watchNode,
  "make executions": async () => (await import("./executions.ts")).makeExecutions,
  "replay executions": async () => (await import("./executions.ts")).replayExecutions,
  "restart node": async () => (await import("./executions.ts")).restartNode,
  "list executions": async () => (await import("./executions.ts")).listExecutions,
  "read from LevelDB": async () => (await import("./point-reads.ts")).readFromLevel,
  "read through node": async () => (await import("./point-reads.ts")).readThroughNode,
  "serve reads": async () => (await import("./http-reads.ts")).serveReads,
  "ask reads": async () => (await import("./http-reads.ts")).askReads,
  "ask writes": async () => (await import("./http-writes.ts")).askWrites,
  "pace writes": async () => (await import("./paced-writes.ts")).paceWrites,
  "load lines": async () => (await import("./load.ts")).loadLines,
  "publish steadily": async () => (await import("./publish.ts")).publishSteadily,
  "queue in cairn": async () => (await import("./queues.ts")).queueInCairn,
  "fill queue": async () => (await import("./queues.ts")).fillQueue,
  "start director": async () => (await import("./queues.ts")).startDirector,
  "direct over HTTP": async () => (await import("./queues.ts")).directOverHttp,
  "queue in redis": async () => (await import("./queue-peers.ts")).queueInRedis,
  "queue in sqlite": async () => (await import("./queue-peers.ts")).queueInSqlite,
  "write LevelDB": async () => (await import("./write-level.ts")).writeLevel,
  "fill backup": async () => (await import("./log-backup.ts")).fillBackup,
  "change and back up": async () => (await import("./log-backup.ts")).changeAndBackUp,
  "back up rocksdb": async () => (await import("./write-rocksdb.ts")).backUpRocksdb,
  "submit steadily": async () => (await import("./log-backup.ts")).submitSteadily,
  "trace workload": async () => (await import("./workloads.ts")).traceWorkload,
  "replay workload": async () => (await import("./workloads.ts")).replayWorkload,
  "write trace": async () => (await import("./workloads.ts")).writeTrace,
  "make own documents": async () => (await import("./own-indexes.ts")).makeOwnDocuments,
  "start and catch up": async () => (await import("./own-indexes.ts")).startAndCatchUp,
  "read states": async () => (await import("./own-indexes.ts")).readStates,
  "build own index": async () => (await import("./own-indexes.ts")).buildOwnIndex,
  "write SQLite": async () => (await import("./write-sqlite.ts")).writeSqlite,
  "write beside own index": async () => (await import("./own-writer.ts")).writeBesideOwnIndex,
  "capture own index": async () => (await import("./own-writer.ts")).captureOwnIndex,
  "measure blocks": async () => (await import("./own-blocks.ts")).measureBlocks,
  "make lmdb": async () => (await import("./write-lmdb.ts")).makeLmdb,
  "back up lmdb": async () => (await import("./write-lmdb.ts")).backUpLmdb,
  "write lmdb": async () => (await import("./write-lmdb.ts")).writeLmdb,
} as const;

/** The input of a step. */
export type StepInput<Name extends keyof typeof STEPS> = Parameters<
  Awaited<ReturnType<(typeof STEPS)[Name]>>
>[0];

/** The name of a step. */
export type StepName = keyof typeof STEPS;
