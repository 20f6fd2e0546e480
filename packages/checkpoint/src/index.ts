export { ARCHIVE_FORMATS, decodeManifest, encodeManifest, ManifestSchema } from "./checkpoint.ts";
export type { IndexState, Manifest } from "./checkpoint.ts";
export { formatCheckpointName, newestFirst, parseCheckpointName } from "./checkpoint-name.ts";
export type { CheckpointName } from "./checkpoint-name.ts";
export type { CheckpointSource } from "./checkpoint-source.ts";
export type { CheckpointStore, StoredFile, TaggedText } from "./checkpoint-store.ts";
export { startCheckpointer } from "./checkpointer.ts";
export type { Checkpointer, CheckpointerParts } from "./checkpointer.ts";
export type { CheckpointerEvent, CheckpointerStatus } from "./checkpointer-events.ts";
export type { CheckpointerOptions, RetentionPolicy } from "./checkpointer-options.ts";
export { systemClock } from "./clock.ts";
export type { Clock } from "./clock.ts";
export { findCandidates } from "./find-candidates.ts";
export type { Candidate, FindOptions, UnreachableStore } from "./find-candidates.ts";
export { listCheckpoints } from "./list-checkpoints.ts";
export type {
  CheckpointList,
  CheckpointListing,
  SkippedCheckpoint,
  StoredCheckpoint,
} from "./list-checkpoints.ts";
export { packDirectory } from "./pack.ts";
export type { PackedArchive, Packing, PackOptions } from "./pack.ts";
export { restoreCheckpoint } from "./restore-checkpoint.ts";
export type { RestoreOptions, RestoreProgress, RestoreResult } from "./restore-checkpoint.ts";
export { decideRetention } from "./retention.ts";
export type { RetainedCheckpoint, RetentionDecision } from "./retention.ts";
export { decideRound, firstLookDelay, nextLookDelay, retryDelay } from "./schedule.ts";
export type { LookSituation, RoundDecision, RoundSituation, SkipReason } from "./schedule.ts";
export { filesystemStore } from "./stores/filesystem-store.ts";
export type { FilesystemStoreOptions } from "./stores/filesystem-store.ts";
export { memoryStore } from "./stores/memory-store.ts";
export type { MemoryStoreOptions } from "./stores/memory-store.ts";
export { removeCheckpoint, sweepStore } from "./sweep.ts";
export type { SweepOptions, SweepReport } from "./sweep.ts";
export { takeCheckpoint } from "./take-checkpoint.ts";
export type { RoundStep, TakeOptions, TakeOutcome } from "./take-checkpoint.ts";
export { unpackArchive } from "./unpack.ts";
export type { UnpackOptions } from "./unpack.ts";
