export { ARCHIVE_FORMATS } from "./store/archive-format.ts";
export { DAMAGE_CODES, type CapturedState, type Manifest, type StoredManifest } from "./store/checkpoint.ts";
export { CHECKPOINT_PREFIX, isNewer, newestFirst, parseCheckpointName } from "./store/checkpoint.ts";
export type { CheckpointSource, OtherLook } from "./store/checkpoint-source.ts";

/** The contract of a checkpoint store, and the code that its implementations share. */
export * from "./store/checkpoint-store.ts";
export {
  alreadyThere,
  contentTag,
  endsEarly,
  idInName,
  isStoreName,
  MAX_SMALL_FILE_BYTES,
  notThere,
  requireStoreName,
  STORE_FULL_HINT,
  storedChunks,
  tooLarge,
} from "./store/stored-files.ts";
export { parseStoredRecord } from "./store/stored-record.ts";

export {
  decodeRecipient,
  holdsIdentity,
  IDENTITY_AS_PATH,
  readEncryption,
  type StoreEncryption,
} from "./encryption/key-file.ts";
export {
  openSealed,
  requireEncrypted,
  type SealedHeader,
  SealedHeaderSchema,
  sealFile,
  sha256Of,
} from "./encryption/sealed-file.ts";

export { filesystemStore } from "./stores/folder/filesystem-store.ts";

export {
  type CheckpointListing,
  isKeyMissing,
  listCheckpoints,
  listingOf,
  type SkippedCheckpoint,
} from "./store/list-checkpoints.ts";
export { type HeldLease, LEASE_PREFIX } from "./store/lease-record.ts";
export { readReservations, whileReserved } from "./store/reservations.ts";
export { markDamaged, markVerified, readVerification, type Verification } from "./store/verification.ts";

export { NOTHING_KNOWN } from "./save/checkpointer-status.ts";
export { type Checkpointer, startCheckpointer } from "./save/checkpointer.ts";
export type { CheckpointerEvent, CheckpointerStatus } from "./save/checkpointer-events.ts";
export type { CheckpointerOptions } from "./save/checkpointer-options.ts";
export { takeCheckpoint, type TakeOptions, type TakeOutcome } from "./save/checkpoint-round.ts";
export { firstLookDelay, isTooSoon, nextLookDelay, retryDelay } from "./save/schedule.ts";

export { type ArchivedFiles, openArchive } from "./archive/archived-files.ts";
export { archivableBytes } from "./archive/pack/pack.ts";

export {
  findCandidates,
  type FindOptions,
  restoreCheckpoint,
  type RestoreOptions,
  type RestoreProgress,
  type RestoreResult,
} from "./restore/restore-checkpoint.ts";

export { listRetained, type RetainedListing } from "./retain/list-retained.ts";
export { planPrune, prune, type PruneEntry, type PruneOptions } from "./retain/prune.ts";
