export type {
  BucketsPage,
  CheckpointResult,
  EventListQuery,
  EvictionPlaces,
  EvictionsPage,
  ListQuery,
  NodeApi,
  NodePolicies,
  OpenEntriesList,
  ReadOptions,
  SubmittedTransaction,
} from "./api/node-api.ts";
export { ClusterStatusSchema, StatusSchema } from "./api/status-schema.ts";
export { type HttpOptions, type System, TOKEN_PATTERN, type TokenOptions } from "./api/system.ts";
export { verifyBackup } from "./backup/backup-beginning.ts";
export { BackupLog } from "./backup/backup-log.ts";
export { BackupReader } from "./backup/backup-reader.ts";
export { backupsBeyond } from "./backup/beyond-log.ts";
export { surveyBackup } from "./backup/backup-survey.ts";
export { EarlierLogs } from "./backup/earlier-logs.ts";
export { logWithBackup } from "./backup/log-with-backup.ts";
export { listBackups } from "./backup/segments/segment-name.ts";
export { holesOf } from "./backup/write/verify-backup.ts";
export { judgeFormat, verifyRestored } from "./checkpoints/accept-checkpoint.ts";
export { listCandidates } from "./checkpoints/candidates.ts";
export { closeStores, isOwnStore, restoreStores } from "./checkpoints/checkpoint-stores.ts";
export { listedCheckpoint } from "./checkpoints/checkpoint-summary.ts";
export { readBack, tryMarkDamaged, verifyCheckpoint } from "./checkpoints/verify-checkpoint.ts";
export { askEach, askStatus, type Peer } from "./cluster/ask-cluster.ts";
export { clusterStatus } from "./cluster/cluster-findings.ts";
export { askCluster, type ClusterView, isMember } from "./cluster/cluster-view.ts";
export { dbDirLayout } from "./db-dir/index-directory.ts";
export { readQuarantine } from "./db-dir/quarantine.ts";
export { findingText, NODE_FINDINGS } from "./findings/findings.ts";
export { TOO_LARGE } from "./index/apply/apply-transactions.ts";
export type { CommitResult } from "./index/apply/recent-outcomes.ts";
export { IndexStore } from "./index/index-store.ts";
export { checkRows } from "./index/inspect/check-rows.ts";
export { diffIndexes } from "./index/inspect/diff-indexes.ts";
export { countBuckets, findState, listDocuments } from "./index/inspect/list-rows.ts";
export { measureRows } from "./index/inspect/list-rows.ts";
export { fileReader, openIndex } from "./index/local-index.ts";
export type { BucketSummary, FieldSummary } from "./index/read/bucket-reads.ts";
export { digestIndex } from "./index/read/digest.ts";
export type {
  AsOf,
  DocumentPage,
  DocumentVersion,
  HistoryPage,
  StoredDocument,
} from "./index/read/documents.ts";
export type { EventPage, RecordedEvent } from "./index/read/event-reads.ts";
export type { Eviction } from "./index/read/eviction-reads.ts";
export type { FieldQuery } from "./index/read/field-query.ts";
export type { TransactionEvent, WatchChange } from "./index/read/transaction-event.ts";
export { WatchCompactedError } from "./index/read/watch-compacted.ts";
export { INDEX_VERSION } from "./index/rows/index-state.ts";
export { rowName } from "./index/rows/row-names.ts";
export { findLostLog } from "./join/lost-log.ts";
export { beginEmptyLog, continueLog, lookBeforeBeginning } from "./join/may-begin.ts";
export { findOrphans } from "./join/orphan-transactions.ts";
export { checkAnchor, SAVE_BEYOND_GAP, trimmedTooFar } from "./log/anchor.ts";
export { openEmbeddedTxLog } from "./log/embedded/embedded-tx-log.ts";
export { isUnused, type LogIdentity, readLogIdentity, usedLog } from "./log/log-identity.ts";
export type { PeerChannel, SendAnswer } from "./log/peer-channel.ts";
export {
  type Appended,
  type LogBackupSource,
  type LogBounds,
  type LogMessage,
  type LogReadOptions,
  MESSAGE_ID_WINDOW_MS,
  type TxLog,
} from "./log/tx-log.ts";
export { type CairnNode, runEngine } from "./node/node.ts";
export type {
  NodeEvent,
  NodeEventListener,
  RemovedFile,
  Work,
  WorkBegun,
  WorkCost,
  WorkEnded,
  WorkEnds,
  WorkFailed,
  WorkResults,
} from "./observe/node-event.ts";
export type { NodeMetrics } from "./node/node-metrics.ts";
export { formatPolicyProblem, policyProblems } from "./policies/policy-problems.ts";
export { buildPlanned, placePast, requireEmpty } from "./replay/past-index.ts";
export { checkpointAlone, type PastPlan, type PastPoint, planPast } from "./replay/past-plan.ts";
export { beyondReach } from "./replay/past-reach.ts";
export { rebuildCheckpoint } from "./replay/rebuild-checkpoint.ts";
export { rebuildIndex } from "./replay/rebuild-index.ts";
export {
  latestOf,
  logsIn,
  type RestoredIndex,
  restoreIndex,
  type RestoreIndexOptions,
} from "./replay/restored-index.ts";
export { EVENT_FIELDS, eventProblem } from "./transactions/event-record.ts";
export { decodeMessage } from "./transactions/transaction-codec.ts";
export { documentProblem, validTransaction } from "./transactions/validate-transaction.ts";
export { trimLog } from "./upkeep/plan-trim.ts";
export { pruneLogBackup } from "./upkeep/prune-log-backup.ts";
export type {
  CutoffEvent,
  CutoffReason,
  HeartbeatEvent,
  Watch,
  WatchEvent,
  WatchQuery,
} from "./watch/watch-event.ts";
