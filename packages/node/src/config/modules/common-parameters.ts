import { duration, durationOrNever } from "../types/duration-type.ts";
import type { ModuleKind } from "../types/module-kinds.ts";
import { moduleOf } from "./module-type.ts";
import { mapOf } from "../types/map-type.ts";
import { optional, required, withDefault, withDefaults } from "../types/parameter.ts";
import type { Parameters, ValueType } from "../types/reading.ts";
import type { OnLogMismatch, TrimPolicy } from "../../api/system.ts";
import { choice, path } from "../types/value-types.ts";

const reactions = {
  regressed: withDefault(
    choice(["rebuild", "halt"]),
    "rebuild",
    "When the log has the index's id, but lost messages that the index holds.",
  ),
  different: withDefault(choice(["rebuild", "halt"]), "halt", "When the log has another id."),
};

const onLogMismatch: ValueType<OnLogMismatch> = mapOf("on-log-mismatch", reactions, (values) => values);

const trim: ValueType<TrimPolicy> = mapOf(
  "trim",
  {
    keep: required(duration(), "Messages younger than this stay, counted back from the newest."),
  },
  (values) => values,
);

/** Parameters of every log, read by the node. */
export const txLogParameters = {
  "on-log-mismatch": withDefaults(
    onLogMismatch,
    "What the node does when its index was built from another log: `rebuild` moves the index aside and joins anew, `halt` stops.",
  ),
  trim: optional(
    trim,
    "Lets the node remove old messages that a verified checkpoint in a shared store holds.",
    "none: nothing is trimmed",
  ),
};

/** Parameters of every key-value store, read by the node. */
export const kvStoreParameters = {
  "db-dir": optional(
    path(),
    "The index's folder; it holds live/, staging/, capture/ and quarantine/.",
    "`CAIRN_INDEX_PATH`, else `{CAIRN_DIR}/{NODE_ID}-index`",
  ),
  "scrub-every": withDefault(
    durationOrNever(),
    24 * 3_600_000,
    "About how often a ready node compares all tables of its index with their checksums; `never` turns it off.",
  ),
  checkpointer: optional(
    moduleOf("checkpointer"),
    "Saves and restores checkpoints of the index.",
    "none: no checkpoints are saved, and a node joins by reading the whole log",
  ),
};

/** The parameters that the modules of a kind have in common, by kind. */
export const commonParameters: Readonly<Record<ModuleKind, Parameters>> = {
  "tx-log": txLogParameters,
  "kv-store": kvStoreParameters,
  checkpointer: {},
  "checkpoint-store": {},
};
