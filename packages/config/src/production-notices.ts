import type { Policies } from "@cairn/client";
import { logBackupTxLog } from "./modules/modules.ts";
import type { ResolvedConfig } from "./read-config.ts";

/** Of documents of 300 bytes, each in a transaction of its own, with all history (docs/sizing.md). */
const GROWTH = "3 GB a day for each 100 writes/s";

/** What a configuration should have in production, if data matters and the disks are finite: why, and what to write. */
const RULES: readonly (readonly [isLacking: (config: ResolvedConfig) => boolean, sentences: string])[] = [
  [
    ({ txLog, settings }) =>
      txLog.id === "cairn.nats/->tx-log" &&
      settings.some(({ path, value }) => path.at(-1) === "replicas" && value === 1),
    'The stream has one replica, so the log ends with the disk of one server; three survive the loss of one (for a stream that exists: nats stream edit). Write "replicas": 3 in the log, at cairn/tx-log.',
  ],
  [
    ({ kvStore }) => kvStore.common.checkpointer?.common.logBackup === undefined,
    'There is no second copy of the log, so with its disks every transaction after the newest checkpoint is lost. (A folder counts as one only if it is on other disks.) Write "log-backup": {"every": "PT1M"} in the checkpointer, beside its store and approx-frequency.',
  ],
  [
    (config) => isSaving(config) && !has(config, "verify-every"),
    'No checkpoint is read back, so damage in the store shows only when a node needs it, and the log is not trimmed. Write "verify-every": "P1D" in the checkpointer, beside its store and approx-frequency.',
  ],
  [
    ({ policies }) => !isBounded(policies),
    `Nothing in the configuration bounds the history, so unless the log's policies do (cairn policy show), the index of each node and each checkpoint grow by about ${GROWTH}; cairn policy apply changes policies that a log already has. Write {"history": {"*": {"keep": 3, "for": "P1D"}}, "outcomes": {"for": "P1D"}} at cairn/policies.`,
  ],
  [
    (config) => isSaving(config) && config.txLog.common.trim === undefined,
    'The log is never trimmed, so it grows by all that is written until its disk is full and every write is refused. Write "trim": {"keep": "P3D"} in the log, at cairn/tx-log.',
  ],
  [
    (config) => config.txLog.common.trim !== undefined && isPrivate(config),
    'The log is not trimmed, because the folder of the checkpoints is not declared as one that every node has. (If it is not, use S3, or a mount that all nodes share.) Write "shared-store": true in the checkpoint store.',
  ],
];

/**
 * Returns what a configuration lacks for production, as sentences. Nodes log none of this, because much of it is right
 * for a node that is tried out.
 */
export function productionNotices(config: ResolvedConfig): readonly string[] {
  // A reader changes neither the log nor the store.
  if (config.txLog.id === logBackupTxLog.id) return [];
  return RULES.flatMap(([isLacking, sentences]) => (isLacking(config) ? [sentences] : []));
}

function isBounded({ history, outcomes }: Policies = {}): boolean {
  return history?.["*"] !== undefined && outcomes !== undefined;
}

/** Returns whether the node saves checkpoints, instead of only restoring them. */
function isSaving(config: ResolvedConfig): boolean {
  return has(config, "approx-frequency");
}

function has({ settings }: ResolvedConfig, name: string): boolean {
  return settings.some(({ path }) => path.at(-1) === name);
}

/** Returns whether all stores are folders that are not declared as shared. */
function isPrivate({ settings }: ResolvedConfig): boolean {
  const folders = settings.filter(({ path }) => path.at(-1) === "shared-store");
  return (
    folders.length > 0 &&
    folders.every(({ value }) => value !== true) &&
    !settings.some(({ path }) => path.at(-1) === "bucket")
  );
}
