export {
  ARCHIVE_FORMATS,
  decodeManifest,
  encodeManifest,
  type IndexState,
  type Manifest,
  ManifestSchema,
} from "./checkpoint.ts";
export {
  type CheckpointName,
  formatCheckpointName,
  newestFirst,
  parseCheckpointName,
} from "./checkpoint-name.ts";
export { type CheckpointSource } from "./checkpoint-source.ts";
export {
  type CheckpointStore,
  type DirectContent,
  isSamePlace,
  type StoredContent,
  type StoredFile,
  type StoreFindings,
  type TaggedText,
  type UploadOptions,
} from "./checkpoint-store.ts";
export {
  type AskedRound,
  type Checkpointer,
  type CheckpointerParts,
  startCheckpointer,
  type StopOptions,
} from "./checkpointer.ts";
export { type CheckpointerEvent, type CheckpointerStatus } from "./checkpointer-events.ts";
export { type CheckpointerOptions, type RetentionPolicy } from "./checkpointer-options.ts";
export { type Clock, systemClock } from "./clock.ts";
export {
  type Candidate,
  findCandidates,
  type FindOptions,
  type UnreachableStore,
} from "./find-candidates.ts";
export { type HeldLease } from "./held-lease.ts";
export {
  type CheckpointList,
  type CheckpointListing,
  listCheckpoints,
  type SkippedCheckpoint,
  type StoredCheckpoint,
} from "./list-checkpoints.ts";
export type { PackedArchive } from "./archive-pieces.ts";
export { packDirectory, type Packing, type PackOptions } from "./pack.ts";
export { planPrune, prune, type PruneEntry, type PruneOptions, type PruneReport } from "./prune.ts";
export {
  restoreCheckpoint,
  type RestoreOptions,
  type RestoreProgress,
  type RestoreResult,
} from "./restore-checkpoint.ts";
export { decideRetention, type RetainedCheckpoint, type RetentionDecision } from "./retention.ts";
export {
  decideRound,
  firstLookDelay,
  type LookSituation,
  nextLookDelay,
  retryDelay,
  type RoundDecision,
  type RoundSituation,
  type SkipReason,
} from "./schedule.ts";
export { type CheckpointerWarning } from "./store-witness.ts";
export { filesystemStore, type FilesystemStoreOptions } from "./stores/filesystem-store.ts";
export { memoryStore, type MemoryStoreOptions } from "./stores/memory-store.ts";
export {
  LEAST_PART,
  type S3Checksums,
  type S3Credentials,
  type S3StoreOptions,
} from "./stores/s3-options.ts";
export { s3Store } from "./stores/s3-store.ts";
export { requireStoreName, SMALL_FILE_LIMIT } from "./stores/store-names.ts";
export {
  removeCheckpoint,
  type SweepOptions,
  type SweepReason,
  type SweepReport,
  sweepStore,
} from "./sweep.ts";
export { type RoundStep, takeCheckpoint, type TakeOptions, type TakeOutcome } from "./take-checkpoint.ts";
export { unpackArchive, type UnpackOptions } from "./unpack.ts";
export { markVerified, readVerification, type Verification, withdrawMark } from "./verification.ts";
