import { join } from "node:path";
import { duration, durationOr } from "../types/duration-type.ts";
import type { ModuleKind } from "../types/module-kinds.ts";
import { moduleOf } from "./module-type.ts";
import { mapOf } from "../types/map-type.ts";
import { optional, required, withDefault } from "../types/parameter.ts";
import type { Parameters } from "../types/reading.ts";
import { boolean, bucketName, choice, integer, listOf, path } from "../types/value-types.ts";

const reactions = {
  regressed: withDefault(
    choice(["rebuild", "halt"]),
    "rebuild",
    "What the node does if the log has the same log id but has lost messages that the index contains.",
  ),
  different: withDefault(
    choice(["rebuild", "halt"]),
    "halt",
    "What the node does if the log has a different log id.",
  ),
};

const onLogMismatch = mapOf("on-log-mismatch", reactions);

/** The parameters that every log has, because the node itself reads them. */
export const txLogParameters = {
  "on-log-mismatch": withDefault(
    onLogMismatch,
    (absent) => onLogMismatch.read(absent),
    "What the node does if its index does not agree with the log: `rebuild` moves the index aside and joins again, `halt` stops.",
    "as below",
  ),
  trim: optional(
    mapOf("trim", {
      keep: required(duration(), "Messages younger than this, relative to the newest, are kept."),
    }),
    "Permits the node to remove old messages that are in a verified checkpoint in a shared store.",
    "none: nothing is trimmed",
  ),
};

/** The parameters that every key-value store has, because the node itself reads them. */
export const kvStoreParameters = {
  "db-dir": withDefault(
    path(),
    ({ reading: { node } }) => join(node.dir, `${node.id}-index`),
    "The folder of the index, with live/, staging/, capture/ and quarantine/.",
    "`CAIRN_INDEX_PATH`, else `{CAIRN_DIR}/{NODE_ID}-index`",
  ),
  "scrub-every": withDefault(
    durationOr("never"),
    24 * 3_600_000,
    "The approximate interval at which a ready node compares all tables of its index with their checksums; `never` disables scrubs.",
  ),
  attach: withDefault(
    boolean(),
    true,
    "Whether a joining node without an index serves reads with `stale=true` from the checkpoint that it is restoring.",
  ),
  checkpointer: optional(
    moduleOf("checkpointer"),
    "Saves and restores checkpoints of the index.",
    "none: no checkpoints are saved, and a node joins by reading the whole log",
  ),
};

/** The parameters that every index of one's own has, because the node itself reads them. */
export const indexParameters = {
  version: withDefault(
    integer(1),
    1,
    "The version of the content. An index of another version is built anew.",
  ),
  ready: withDefault(
    choice(["later", "waits"]),
    "later",
    "Whether the node serves documents before the index is built, or is ready only then.",
  ),
  "checkpoint?": withDefault(boolean(), true, "Whether checkpoints contain the index."),
};

export const commonParameters: Readonly<Record<ModuleKind, Parameters>> = {
  "tx-log": txLogParameters,
  "kv-store": kvStoreParameters,
  checkpointer: {},
  "checkpoint-store": {},
  index: {
    ...indexParameters,
    buckets: optional(listOf(bucketName()), "The buckets whose documents the index gets.", "all"),
  },
};
