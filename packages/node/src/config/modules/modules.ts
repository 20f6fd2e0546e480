import { basename, join } from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import type { CheckpointerOptions, RetentionPolicy } from "@cairn/checkpoint";
import { CairnError, levelProvider, memoryProvider } from "@cairn/kv";
import { dbDirLayout } from "../../db-dir/layout.ts";
import { openEmbeddedTxLog } from "../../log/embedded/embedded-tx-log.ts";
import { omitUndefined } from "../source/omit-undefined.ts";
import { kvStoreParameters, txLogParameters } from "./common-parameters.ts";
import { duration, durationOr } from "../types/duration-type.ts";
import { defineModule } from "./module-descriptor.ts";
import type { ModuleDescriptor } from "../types/reading.ts";
import { moduleOf } from "./module-type.ts";
import type { TxLogOpener } from "../types/module-kinds.ts";
import { natsTxLog } from "./nats-module.ts";
import { mapOf } from "../types/map-type.ts";
import { derived, optional, required, withDefault } from "../types/parameter.ts";
import { s3CheckpointStore } from "./s3-module.ts";
import { boolean, choice, integer, listOf, path } from "../types/value-types.ts";

const embeddedTxLog = defineModule({
  id: "cairn.embedded/->tx-log",
  kind: "tx-log",
  doc: "A log on the node's own disk, for a single node.",
  parameters: {
    path: derived(
      path(),
      ({ node }) => join(node.dir, `${node.id}-log`),
      "The log's folder.",
      "`{CAIRN_DIR}/{NODE_ID}-log`",
    ),
    ...txLogParameters,
  },
  common: (values) => ({ "on-log-mismatch": values["on-log-mismatch"], trim: values.trim }),
  create(values, { onNotice }) {
    const open: TxLogOpener = () => openEmbeddedTxLog({ path: values.path, onNotice });
    return Object.assign(open, { logName: basename(values.path) });
  },
});

const levelKvStore = defineModule({
  id: "cairn.leveldb/->kv-store",
  kind: "kv-store",
  doc: "The index in LevelDB, on disk.",
  parameters: kvStoreParameters,
  common: (values) => values,
  create: () => levelProvider(),
});

const memoryKvStore = defineModule({
  id: "cairn.memory/->kv-store",
  kind: "kv-store",
  doc: "The index in memory: lost when the node stops, restored from a checkpoint and the log when it starts.",
  parameters: kvStoreParameters,
  common: (values) => values,
  create: () => memoryProvider(),
});

const retentionPolicy = mapOf(
  "retention-policy",
  {
    "retain-newer-than": optional(
      duration(),
      "Other checkpoints are removed once they are older than this.",
      "none: all others are removed",
    ),
    "retain-at-least": optional(integer(1), "This many of the newest are always kept.", "none"),
  },
  (values, fail): RetentionPolicy | undefined => {
    const { "retain-newer-than": retainNewerThan, "retain-at-least": retainAtLeast } = values;
    if (retainNewerThan === undefined && retainAtLeast === undefined) {
      return fail(
        "A retention policy limits neither age nor number.",
        "Give retain-newer-than, retain-at-least, or both.",
      );
    }
    return omitUndefined({ retainNewerThan, retainAtLeast });
  },
  { minProperties: 1 },
);

const logBackup = mapOf(
  "log-backup",
  {
    every: required(
      duration(),
      "About how often the cluster, not each node, writes what the log has got since.",
    ),
    keep: optional(
      durationOr("all"),
      "Segments are removed once they are older than this and a verified checkpoint covers them; `all` keeps them.",
      "`all` if the log is trimmed, else P7D",
    ),
  },
  (values) => omitUndefined(values),
);

const SAVES_TO_READ_ONLY = {
  message: "The store that checkpoints are saved to is read-only.",
  hint: "Name it in restore-from and save to another store, or remove read-only? from its configuration.",
  parameter: "store",
};

const checkpointer = defineModule({
  id: "cairn.checkpoint/->checkpointer",
  kind: "checkpointer",
  doc: "Saves checkpoints of the index to a store, and restores from it when the node joins.",
  parameters: {
    "approx-frequency": required(
      duration(),
      "About how often the cluster, not each node, saves a checkpoint.",
    ),
    store: required(moduleOf("checkpoint-store"), "The store that checkpoints are saved to."),
    "restore-from": optional(
      listOf(moduleOf("checkpoint-store")),
      "The stores to restore from when joining, with copies of this log's checkpoints; never written to.",
      "the `store` alone",
    ),
    "verify-every": optional(
      duration(),
      "About how often the cluster reads its newest checkpoint back, opens it, and marks it as verified.",
      "none: only `cairn checkpoint verify` verifies",
    ),
    "log-backup": optional(
      logBackup,
      "Also backs the log up to the store, in segments.",
      "none: the store has checkpoints alone",
    ),
    "checkpoint-dir": optional(
      path(),
      "The folder of the local capture before it is uploaded; on the file system of the index, so that links work.",
      "`{db-dir}/capture`",
    ),
    "keep-dir-between-checkpoints?": withDefault(
      boolean(),
      true,
      "Whether that folder is kept between checkpoints; its files never are.",
    ),
    "keep-dir-on-close?": withDefault(boolean(), false, "Whether it is kept when the node stops."),
    "retention-policy": optional(retentionPolicy, "Which checkpoints are kept.", "none: all are kept"),
    "refresh-after": optional(
      duration(),
      "Saves again even if nothing has changed, once the newest checkpoint is older than this.",
      "none: an unchanged index is not saved again",
    ),
    "replay-budget": optional(
      duration(),
      "Saves nothing while what follows the newest checkpoint would be replayed in less than this.",
      "none: whatever was written is saved",
    ),
    "checkpoint-on-close?": withDefault(
      boolean(),
      false,
      "Whether to try to save once more when the node stops.",
    ),
    compression: withDefault(
      choice(["none", "gzip"]),
      "none",
      "The compression of archives and segments; LevelDB's tables are already compressed.",
    ),
  },
  check: ({ store }) => (store.common["read-only?"] === true ? SAVES_TO_READ_ONLY : undefined),
  common: ({ "log-backup": backup, compression }) =>
    backup === undefined ? {} : { "log-backup": { ...backup, codec: compression } },
  async create(values, context): Promise<CheckpointerOptions> {
    const { "restore-from": restoreFrom } = values;
    const store = await values.store.create(context);
    // A program's own store declares whether it is read-only.
    if (store.readOnly === true) {
      const { message, hint } = SAVES_TO_READ_ONLY;
      throw new CairnError("CONFIG_INVALID", message, { hint });
    }
    return omitUndefined({
      store,
      approxFrequency: values["approx-frequency"],
      checkpointDir: values["checkpoint-dir"] ?? dbDirLayout(context.dbDir).capture,
      captureOwner: context.dbDir,
      keepDirBetweenCheckpoints: values["keep-dir-between-checkpoints?"],
      keepDirOnClose: values["keep-dir-on-close?"],
      checkpointOnClose: values["checkpoint-on-close?"],
      compression: values.compression,
      restoreFrom: restoreFrom && (await Promise.all(restoreFrom.map((one) => one.create(context)))),
      retentionPolicy: values["retention-policy"],
      refreshAfter: values["refresh-after"],
      replayBudget: values["replay-budget"],
      verifyEvery: values["verify-every"],
    });
  },
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
      "Whether all nodes of the cluster share this folder: only then is the log trimmed up to its checkpoints.",
    ),
  },
  common: () => ({}),
  create: (values, { dbDir }) =>
    filesystemStore({
      path: values.path,
      shared: values["shared-store"],
      rememberIn: dbDirLayout(dbDir).stores,
    }),
});

/** Every built-in module, in the order of the documentation. */
export const MODULES: readonly ModuleDescriptor[] = [
  embeddedTxLog,
  natsTxLog,
  levelKvStore,
  memoryKvStore,
  checkpointer,
  filesystemCheckpointStore,
  s3CheckpointStore,
];
