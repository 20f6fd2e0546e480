export * from "./embedding.ts";
export { awaitSubmitted } from "./api/await-submitted.ts";
export { ClusterStatusSchema, StatusSchema } from "./api/status-schema.ts";
export {
  type HttpOptions,
  type System,
  TOKEN_PATTERN,
  type TokenOptions,
  WAIT_FOR_STORE_MS,
} from "./api/system.ts";
export { verifyBackup } from "./backup/backup-beginning.ts";
export { BackupLog } from "./backup/backup-log.ts";
export { BackupReader } from "./backup/backup-reader.ts";
export { backupsBeyond } from "./backup/beyond-log.ts";
export { surveyBackup } from "./backup/backup-survey.ts";
export { EarlierLogs } from "./backup/earlier-logs.ts";
export { furthestBackup } from "./backup/furthest-backup.ts";
export { logWithBackup } from "./backup/log-with-backup.ts";
export { isUnusableSegment } from "./backup/segments/read-segment.ts";
export { holesOf, listBackups, type TxRange } from "./backup/segments/segment-name.ts";
export { missingInBackup } from "./backup/write/verify-backup.ts";
export { judgeFormat, verifyRestored } from "./checkpoints/accept-checkpoint.ts";
export { listCandidates } from "./checkpoints/candidates.ts";
export { closeStores, isOwnStore, requireStore, restoreStores } from "./checkpoints/checkpoint-stores.ts";
export { listedCheckpoint } from "./checkpoints/checkpoint-summary.ts";
export { readBack, tryMarkDamaged, verifyCheckpoint } from "./checkpoints/verify-checkpoint.ts";
export { askEach, askStatus, type Peer } from "./cluster/ask-cluster.ts";
export { clusterStatus } from "./cluster/cluster-findings.ts";
export { askCluster, type ClusterView, isMember } from "./cluster/cluster-view.ts";
export { dbDirLayout } from "./db-dir/index-directory.ts";
export { readQuarantine } from "./db-dir/quarantine.ts";
export { findingText, NODE_FINDINGS } from "./findings/findings.ts";
export { certificateProblem } from "./findings/node-findings.ts";
export { TOO_LARGE } from "./index/apply/apply-transactions.ts";
export { IndexStore } from "./index/index-store.ts";
export { checkRows } from "./index/inspect/check-rows.ts";
export { indexReader } from "./index/rows/index-rows.ts";
export { countBuckets, findState, listDocuments, measureRows } from "./index/inspect/list-rows.ts";
export { fileReader, openIndex } from "./index/local-index.ts";
export { digestIndex } from "./index/read/digest.ts";
export { FIELD_CONDITION, parseFieldQuery } from "./index/read/field-query.ts";
export { holdsTransactions, INDEX_VERSION } from "./index/rows/index-state.ts";
export { rowName } from "./index/rows/row-names.ts";
export { askHolders, type Holder } from "./join/log-holders.ts";
export { type AskedHolder, leftBehind, type LeftBehind } from "./join/left-behind.ts";
export { findLostLog } from "./join/lost-log.ts";
export { beginEmptyLog, continueLog, lookBeforeBeginning } from "./join/may-begin.ts";
export { findSuccessor } from "./join/old-copy.ts";
export { findOrphans, historyOfOrphans, openUnlocked } from "./join/orphan-transactions.ts";
export { comparedWith, type History, historyOfLog, historyOfRows } from "./join/same-transactions.ts";
export { checkAnchor, mayContain, SAVE_BEYOND_GAP, trimmedTooFar } from "./log/anchor.ts";
export { openEmbeddedTxLog } from "./log/embedded/embedded-tx-log.ts";
export { anchorOfPrefix, isUnused, type LogIdentity, readLogIdentity, usedLog } from "./log/log-identity.ts";
export { MESSAGE_ID_WINDOW_MS } from "./log/tx-log.ts";
export { runEngine } from "./node/node.ts";
export { openCheckpointAccess } from "./node/open-checkpoint.ts";
export type { NodeMetrics } from "./node/node-observation.ts";
export { numberSkipped } from "./observe/skipped-checkpoints.ts";
export { takeOwnFiles } from "./own-indexes/checkpointed-files.ts";
export { checkedQuery, parseRows } from "./own-indexes/queries/index-queries.ts";
export type { OwnIndexOptions, ServedIndex } from "./own-indexes/own-index.ts";
export { sqliteDriverProblem } from "./own-indexes/sqlite/sqlite-driver.ts";
export {
  SQLITE_INDEX_MODULE,
  type SqliteIndexOptions,
  sqliteProblems,
} from "./own-indexes/sqlite/sqlite-options.ts";
export { formatPolicyProblem, invalidPolicies, policyProblems } from "./policies/policy-problems.ts";
export { buildPlanned, type PastIndex, placePast, requireEmpty } from "./replay/past-index.ts";
export {
  checkpointAlone,
  type CopiedIndex,
  indexAlone,
  type PastPlan,
  type PastPoint,
  planPast,
  type Unusable,
} from "./replay/past-plan.ts";
export { overGaps } from "./replay/over-gaps.ts";
export { rebuildIndex } from "./replay/rebuild-index.ts";
export { lastBackedUp, lastStored, latestOf, logsIn } from "./replay/logs-in-store.ts";
export { saveSeam } from "./replay/seam.ts";
export { EVENT_FIELDS, eventProblem } from "./transactions/event-record.ts";
export { decodeMessage, encodeBarrier } from "./transactions/transaction-codec.ts";
export { documentProblem, validTransaction } from "./transactions/validate-transaction.ts";
export { trimLog } from "./upkeep/plan-trim.ts";
export { recordingStore } from "./upkeep/trim-record.ts";
export { pruneLogBackup } from "./upkeep/prune-log-backup.ts";
export { WRITE_BYTES, WRITE_TURNS } from "./watch/write-turns.ts";
