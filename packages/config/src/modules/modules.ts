import { basename, join } from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { levelProvider, memoryProvider } from "@cairn/kv";
import { BackupReader, dbDirLayout, openEmbeddedTxLog } from "@cairn/engine";
import { checkpointer } from "./checkpointer-module.ts";
import { kvStoreParameters, txLogParameters } from "./common-parameters.ts";
import { duration } from "../types/duration-type.ts";
import { encryption, keyedStores } from "./encryption-parameters.ts";
import { defineModule } from "./module-descriptor.ts";
import { moduleOf } from "./module-type.ts";
import type { ModuleDescriptor } from "../types/reading.ts";
import type { TxLogOpener } from "../types/module-kinds.ts";
import { natsTxLog } from "./nats-module.ts";
import { optional, required, withDefault } from "../types/parameter.ts";
import { s3CheckpointStore } from "./s3-module.ts";
import { sqliteIndex } from "./sqlite-module.ts";
import { boolean, path, textLike } from "../types/value-types.ts";

const embeddedTxLog = defineModule({
  id: "cairn.embedded/->tx-log",
  kind: "tx-log",
  doc: "A log on the node's own disk, for a single node.",
  parameters: {
    path: withDefault(
      path(),
      ({ reading: { node } }) => join(node.dir, `${node.id}-log`),
      "The folder of the log.",
      "`{CAIRN_DIR}/{NODE_ID}-log`",
    ),
    ...txLogParameters,
  },
  create(values, { onNotice }) {
    const open: TxLogOpener = () => openEmbeddedTxLog({ path: values.path, onNotice });
    return Object.assign(open, { logName: basename(values.path) });
  },
});

export const logBackupTxLog = defineModule({
  id: "cairn.log-backup/->tx-log",
  kind: "tx-log",
  doc: "The backup of a log in a checkpoint store, for nodes that only read. Nothing is written to the store.",
  parameters: {
    store: required(moduleOf("checkpoint-store"), "The store to which other nodes back the log up."),
    "log-id": optional(
      textLike(/^\S+$/, "the id of a log, which cairn log status shows"),
      "The log to read.",
      "the only one in the store, or the newest of several of which each was recovered from another",
    ),
    every: withDefault(duration(), 10_000, "How often the store is looked at for new segments."),
    encryption: optional(
      encryption,
      "The keys with which the segments are encrypted.",
      "none: they are not encrypted",
    ),
    "on-log-mismatch": txLogParameters["on-log-mismatch"],
  },
  async create({ encryption: keys, store: source, ...options }, context) {
    const keyed = await keyedStores(keys);
    const store = keyed(await source.create(context));
    return ({ signal }) => Promise.resolve(new BackupReader({ ...options, store, signal }));
  },
});

const levelKvStore = defineModule({
  id: "cairn.leveldb/->kv-store",
  kind: "kv-store",
  doc: "The index in LevelDB, on disk.",
  parameters: kvStoreParameters,
  create: () => levelProvider(),
});

const memoryKvStore = defineModule({
  id: "cairn.memory/->kv-store",
  kind: "kv-store",
  doc: "The index in memory: lost when the node stops, restored from a checkpoint and the log when it starts.",
  parameters: kvStoreParameters,
  create: () => memoryProvider(),
});

const filesystemCheckpointStore = defineModule({
  id: "cairn.checkpoint/->filesystem-checkpoint-store",
  kind: "checkpoint-store",
  doc: "Checkpoints in a folder, which several nodes may share.",
  parameters: {
    path: required(path(), "The folder; overridden by `CAIRN_CHECKPOINT_PATH`."),
    "shared-store": withDefault(
      boolean(),
      false,
      "Whether all nodes of the cluster share this folder. Only then is the log trimmed up to its checkpoints.",
    ),
  },
  create: (values, { dbDir }) =>
    filesystemStore({
      path: values.path,
      shared: values.sharedStore,
      rememberIn: dbDirLayout(dbDir).stores,
    }),
});

/** Every built-in module, in the order of the documentation. */
export const MODULES: readonly ModuleDescriptor[] = [
  embeddedTxLog,
  natsTxLog,
  logBackupTxLog,
  levelKvStore,
  memoryKvStore,
  checkpointer,
  filesystemCheckpointStore,
  s3CheckpointStore,
  sqliteIndex,
];
