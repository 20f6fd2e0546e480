export {
  ARCHIVE_FORMATS,
  decodeManifest,
  encodeManifest,
  type IndexState,
  type Manifest,
  ManifestSchema,
} from "./store/checkpoint.ts";
export {
  CHECKPOINT_PREFIX,
  type CheckpointName,
  formatCheckpointName,
  newestFirst,
  parseCheckpointName,
} from "./store/checkpoint-name.ts";
export { type CheckpointSource } from "./store/checkpoint-source.ts";
export {
  type CheckpointStore,
  type DirectContent,
  isSamePlace,
  type StoredContent,
  type StoredFile,
  type StoreFindings,
  type TaggedText,
  type UploadOptions,
} from "./store/checkpoint-store.ts";
export {
  type AskedRound,
  type Checkpointer,
  type CheckpointerParts,
  startCheckpointer,
  type StopOptions,
} from "./save/checkpointer.ts";
export { type CheckpointerEvent, type CheckpointerStatus } from "./save/checkpointer-events.ts";
export { type CheckpointerOptions } from "./save/checkpointer-options.ts";
export { type Backoff, backoffMs } from "./timing/backoff.ts";
export { type Clock, systemClock } from "./timing/clock.ts";
export {
  type Candidate,
  findCandidates,
  type FindOptions,
  type UnreachableStore,
} from "./restore/find-candidates.ts";
export { type HeldLease } from "./save/held-lease.ts";
export {
  type CheckpointList,
  type CheckpointListing,
  listCheckpoints,
  type SkippedCheckpoint,
  type StoredCheckpoint,
} from "./store/list-checkpoints.ts";
export type { PackedArchive } from "./archive/pack/archive-pieces.ts";
export { packDirectory, type Packing, type PackOptions } from "./archive/pack/pack.ts";
export { planPrune, prune, type PruneEntry, type PruneOptions, type PruneReport } from "./retain/prune.ts";
export {
  restoreCheckpoint,
  type RestoreOptions,
  type RestoreProgress,
  type RestoreResult,
} from "./restore/restore-checkpoint.ts";
export {
  decideRetention,
  type RetainedCheckpoint,
  type RetentionDecision,
  type RetentionPolicy,
} from "./retain/retention.ts";
export {
  decideRound,
  firstLookDelay,
  type LookSituation,
  nextLookDelay,
  retryDelay,
  type RoundDecision,
  type RoundSituation,
  type SkipReason,
} from "./save/schedule.ts";
export { type CheckpointerWarning } from "./save/store-witness.ts";
export { filesystemStore, type FilesystemStoreOptions } from "./stores/folder/filesystem-store.ts";
export { memoryStore, type MemoryStoreOptions } from "./stores/memory-store.ts";
export {
  LEAST_PART,
  type S3Checksums,
  type S3Credentials,
  type S3StoreOptions,
} from "./stores/s3/s3-options.ts";
export { s3Store } from "./stores/s3/s3-store.ts";
export { requireStoreName, SMALL_FILE_LIMIT } from "./store/store-names.ts";
export {
  removeCheckpoint,
  type SweepOptions,
  type SweepReason,
  type SweepReport,
  sweepStore,
} from "./retain/sweep.ts";
export {
  type RoundStep,
  takeCheckpoint,
  type TakeOptions,
  type TakeOutcome,
} from "./save/take-checkpoint.ts";
export { unpackArchive, type UnpackOptions } from "./archive/unpack/unpack.ts";
export { markVerified, readVerification, type Verification, withdrawMark } from "./store/verification.ts";
