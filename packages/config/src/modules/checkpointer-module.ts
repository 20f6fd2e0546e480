import type { CheckpointerOptions, CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { dbDirLayout, WAIT_FOR_STORE_MS } from "@cairn/engine";
import { omitUndefined } from "@cairn/text";
import { duration, durationOr } from "../types/duration-type.ts";
import { mapOf } from "../types/map-type.ts";
import type { ModuleUse, RestoreOnly } from "../types/module-kinds.ts";
import { camelCase, optional, required, withDefault } from "../types/parameter.ts";
import { boolean, choice, integer, listOf, path } from "../types/value-types.ts";
import { defineModule } from "./module-descriptor.ts";
import { encryption, keyedStores } from "./encryption-parameters.ts";
import { moduleOf } from "./module-type.ts";

const retentionPolicy = mapOf(
  "retention-policy",
  {
    "retain-newer-than": optional(
      duration(),
      "Other checkpoints are removed once they are older than this.",
      "none: all others are removed",
    ),
    "retain-at-least": optional(integer(1), "The number of newest checkpoints that are always kept.", "none"),
  },
  ({ retainNewerThan, retainAtLeast }) =>
    retainNewerThan === undefined && retainAtLeast === undefined
      ? {
          message: "This retention policy sets no limit.",
          hint: "Set retain-newer-than, retain-at-least, or both.",
        }
      : undefined,
);

const logBackup = mapOf(
  "log-backup",
  {
    every: required(
      duration(),
      "The approximate interval at which the cluster, not each node, writes new messages of the log.",
    ),
    keep: optional(
      durationOr("all"),
      "Segments are removed once they are older than this and a verified checkpoint covers them; `all` keeps them.",
      "`all` if the log is trimmed, else P7D",
    ),
  },
  ({ every, keep }) =>
    typeof keep === "number" && keep < every
      ? {
          message: "keep is shorter than every: segments would expire before the next one is written.",
          hint: "Set keep to a multiple of every, such as P7D, or to all.",
        }
      : undefined,
);

/** The parameters without defaults that are meaningful only for a node that saves checkpoints. */
const SAVING = [
  "approx-frequency",
  "store",
  "verify-every",
  "log-backup",
  "checkpoint-dir",
  "retention-policy",
  "refresh-after",
] as const;

const SAVES_TO_READ_ONLY = {
  message: "The store in which checkpoints are saved is read-only.",
  hint: "Name it in restore-from and save to another store, or remove read-only? from its configuration.",
  parameter: "store",
};

export const checkpointer = defineModule({
  id: "cairn.checkpoint/->checkpointer",
  kind: "checkpointer",
  doc: "Saves checkpoints of the index to a store, and restores from it when the node joins.",
  parameters: {
    "approx-frequency": optional(
      duration(),
      "The approximate interval at which the cluster, not each node, saves a checkpoint.",
      "required with `store`",
    ),
    store: optional(
      moduleOf("checkpoint-store"),
      "The store in which checkpoints are saved.",
      "required; without it, `restore-from` alone: the node saves no checkpoints",
    ),
    "restore-from": optional(
      listOf(moduleOf("checkpoint-store")),
      "The stores from which a joining node restores. They contain copies of this log's checkpoints, and the node never writes to them.",
      "the `store` alone",
    ),
    "wait-for-store": withDefault(
      duration(),
      WAIT_FOR_STORE_MS,
      "How long a node without an index waits for a store that cannot be read. After that, it builds its index from the log, if the log is complete.",
    ),
    "verify-every": optional(
      duration(),
      "The approximate interval at which the cluster reads its newest checkpoint back, opens it, and marks it as verified.",
      "none: only `cairn checkpoint verify` verifies checkpoints",
    ),
    "log-backup": optional(
      logBackup,
      "Also backs the log up to the store, in segments.",
      "none: the store contains only checkpoints",
    ),
    encryption: optional(
      encryption,
      "Encrypts checkpoints and segments before they are uploaded, in the age format.",
      "none: nothing is encrypted",
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
  check(values) {
    const { store, approxFrequency, restoreFrom } = values;
    if (store?.common.readOnly === true) return SAVES_TO_READ_ONLY;
    if (store !== undefined && approxFrequency !== undefined) return undefined;
    if (restoreFrom !== undefined && SAVING.every((name) => !Object.hasOwn(values, camelCase(name))))
      return undefined;
    const [parameter, type] =
      store === undefined ? ["store", "a checkpoint store"] : ["approx-frequency", "a duration"];
    return {
      message: `cairn.checkpoint/->checkpointer requires the parameter ${parameter} (${type}).`,
      hint: "Set store and approx-frequency for a node that saves checkpoints. For a node that only restores them, set restore-from without these.",
      parameter,
    };
  },
  notices({ logBackup: backup, approxFrequency: frequency, verifyEvery }) {
    if (typeof backup?.keep !== "number") return [];
    const about = "segments of the log backup are removed only once a verified checkpoint covers them";
    if (verifyEvery === undefined)
      return [
        `keep of log-backup has no effect without verify-every, unless you run cairn checkpoint verify: ${about}.`,
      ];
    if (frequency === undefined || backup.keep >= frequency) return [];
    return [
      `keep of log-backup is shorter than approx-frequency, so segments are kept for longer: ${about}. To keep them for less time, save checkpoints more often.`,
    ];
  },
  async create(values, context): Promise<CheckpointerOptions | RestoreOnly> {
    const {
      encryption: keys,
      store: saving,
      restoreFrom,
      approxFrequency,
      logBackup: _,
      waitForStore: _waited,
      ...options
    } = values;
    const keyed = await keyedStores(keys);
    const create = async (one: ModuleUse<"checkpoint-store">): Promise<CheckpointStore> =>
      keyed(await one.create(context));
    const restoring = restoreFrom && (await Promise.all(restoreFrom.map(create)));
    if (saving === undefined || approxFrequency === undefined) return { restoreFrom: restoring ?? [] };
    const store = await create(saving);
    // A store supplied by a program declares whether it is read-only.
    if (store.readOnly === true) {
      const { message, hint } = SAVES_TO_READ_ONLY;
      throw new CairnError("CONFIG_INVALID", message, hint);
    }
    return {
      checkpointDir: dbDirLayout(context.dbDir).capture,
      ...options,
      store,
      approxFrequency,
      captureOwner: context.dbDir,
      ...omitUndefined({ restoreFrom: restoring }),
    };
  },
});
