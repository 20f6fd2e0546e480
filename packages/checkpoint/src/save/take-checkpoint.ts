import { randomBytes } from "node:crypto";
import { diskError, isCairnError, LEVEL_FORMAT } from "@cairn/kv";
import { cutShort } from "../archive/archive-errors.ts";
import { archivingOnDisk } from "./archiving.ts";
import type { Archiving } from "./archiving.ts";
import { ARCHIVE_FORMATS, encodeManifest } from "../store/checkpoint.ts";
import type { IndexState, Manifest } from "../store/checkpoint.ts";
import { checkpointFile, formatCheckpointName } from "../store/checkpoint-name.ts";
import { isCurrent } from "../store/checkpoint-source.ts";
import type { CheckpointSource } from "../store/checkpoint-source.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import type { CheckpointerOptions } from "./checkpointer-options.ts";
import { systemClock } from "../timing/clock.ts";
import type { Clock } from "../timing/clock.ts";
import { heldLease, tellHeld } from "./held-lease.ts";
import type { HeldLease } from "./held-lease.ts";
import { acquireLease } from "./lease.ts";
import type { Lease } from "./lease.ts";
import { checkpointFiles, readCheckpoints } from "../store/list-checkpoints.ts";
import type { CheckpointFiles, StoredCheckpoint } from "../store/list-checkpoints.ts";
import { isTidy, publishManifest, unpublish } from "./publish.ts";
import { decideRound, uploadTime } from "./schedule.ts";
import type { SkipReason } from "./schedule.ts";
import type { StoreWitness } from "./store-witness.ts";

/** What a round is doing. */
export type RoundStep = "looking" | "capturing" | "uploading" | "publishing" | "sweeping";

/** One round's inputs. */
export interface TakeOptions {
  readonly source: CheckpointSource;
  readonly options: Pick<
    CheckpointerOptions,
    "store" | "approxFrequency" | "checkpointDir" | "captureOwner" | "compression" | "refreshAfter"
  >;
  /** Asked for: saves however recent the newest is, but not when nothing changed or somebody else is uploading. */
  readonly forced?: boolean;
  readonly signal?: AbortSignal;
  /** Aborted, an upload does not give way to what else this process does any more. */
  readonly hurry?: AbortSignal;
  readonly onStep?: (step: RoundStep, bytes: number) => void;
  readonly clock?: Clock;
  /** How long the lease holds without being renewed (ms); a minute when left out. */
  readonly leaseMs?: number;
  /** On disk when left out. */
  readonly archiving?: Archiving;
  /** What earlier rounds saw; left out, this one is alone. */
  readonly witness?: StoreWitness;
}

interface Look {
  readonly newest: StoredCheckpoint | undefined;
  /** When `newest` counts as taken, by the store's clock; never later than `storeNow` when there is a witness. */
  readonly takenAt: number | undefined;
  readonly storeNow: number;
  readonly storeAhead: number;
}

/** Something is to be saved, of this log. */
type Due = Look & { readonly logId: string };

/**
 * What a round came to. `newest` is this log's newest checkpoint as the round knows it, `storeNow` the store's clock when it looked,
 * `storeAhead` how far that was ahead of this machine's (ms).
 */
export type TakeOutcome = Look &
  (
    | { readonly outcome: "taken"; readonly checkpoint: StoredCheckpoint }
    | {
        readonly outcome: "skipped";
        readonly reason: SkipReason;
        readonly because: string;
        /** Where that is the reason, and known: somebody may have taken or given it back meanwhile. */
        readonly lease?: HeldLease;
      }
  );

/** Of so many other checkpoints, the newest, a manifest tells what its own history is where they end. */
const MOST_OTHERS = 64;

/** How long a lease holds without being renewed where nothing else is said. */
export const LEASE_MS = 60_000;

/**
 * One round: looks, decides, and where something is to be saved captures, uploads and publishes it. Throws what went wrong;
 * then nothing lists that was not there before. Sweeping is another step, so that its failure cannot touch what was saved.
 */
export async function takeCheckpoint(take: TakeOptions): Promise<TakeOutcome> {
  const { source, options, clock = systemClock, signal } = take;
  take.onStep?.("looking", 0);
  const before = await look(take);
  if ("outcome" in before) return before;

  signal?.throwIfAborted();
  let held: HeldLease | undefined;
  const lease = await acquireLease(options.store, {
    owner: source.node,
    logId: before.logId,
    ttlMs: take.leaseMs ?? LEASE_MS,
    clock,
    ...(signal === undefined ? {} : { signal }),
    onHeld: (record, storeNow) => {
      take.witness?.sawLease(record, storeNow);
      held = heldLease(record, take.witness?.leftBehind(record, storeNow) ?? false);
    },
  });
  if (lease === undefined) {
    return {
      ...before,
      outcome: "skipped",
      reason: "leased",
      because: tellHeld(held),
      ...(held === undefined ? {} : { lease: held }),
    };
  }
  take.witness?.held(lease.nonce);
  try {
    // Somebody else may have saved one between the first look and the lease.
    const now = await look(take);
    if ("outcome" in now) return now;
    const stop = signal === undefined ? lease.lost : AbortSignal.any([signal, lease.lost]);
    const checkpoint = await saveOrSay(take, lease, stop);
    take.witness?.saved(checkpoint);
    const takenAt = Date.parse(checkpoint.manifest.takenAt);
    return { ...now, newest: checkpoint, takenAt, outcome: "taken", checkpoint };
  } finally {
    await lease.release();
  }
}

/** What lies in the store, and, when that is a reason to save nothing, the outcome. */
async function look(take: TakeOptions): Promise<Due | TakeOutcome> {
  const { source, options, forced = false, clock = systemClock } = take;
  const { store, approxFrequency, refreshAfter } = options;
  const position = await source.position();
  const listed = position === undefined ? [] : await checkpointFiles(store);
  const newest =
    position === undefined
      ? undefined
      : await findNewest(store, listed, source, position.logId, take.witness);
  const storeNow = await store.now();
  const storeAhead = storeNow - clock.now();
  const takenAt =
    newest === undefined
      ? undefined
      : (take.witness?.takenAt(newest, storeNow) ?? Date.parse(newest.manifest.takenAt));
  await take.witness?.sawStore({ store, listed, newest, logId: position?.logId, storeNow });
  const decision = decideRound({
    approxFrequency,
    ...(refreshAfter === undefined ? {} : { refreshAfter }),
    forced,
    newest:
      newest === undefined || takenAt === undefined ? undefined : { txId: newest.manifest.txId, takenAt },
    txId: position?.txId,
    storeNow,
  });
  const seen = { newest, takenAt, storeNow, storeAhead };
  if (decision.save && position !== undefined) return { ...seen, logId: position.logId };
  const reason = decision.save ? "unchanged" : decision.reason;
  return { ...seen, outcome: "skipped", reason, because: decision.because };
}

/** What the system refuses is the capture's here: the store's own errors have their codes already. */
async function saveOrSay(take: TakeOptions, lease: Lease, stop: AbortSignal): Promise<StoredCheckpoint> {
  try {
    return await save(take, lease, stop);
  } catch (error) {
    throw diskError(error, take.options.checkpointDir);
  }
}

async function save(take: TakeOptions, lease: Lease, stop: AbortSignal): Promise<StoredCheckpoint> {
  const { source, options, onStep, archiving = archivingOnDisk } = take;
  const { store, compression } = options;
  // The index may be closed by now, if the store answered late.
  stop.throwIfAborted();
  onStep?.("capturing", 0);
  const listed = await checkpointFiles(store, stop);
  stop.throwIfAborted();
  const others = listed.slice(0, MOST_OTHERS).map(({ parsed }) => parsed.txId);
  const capture = await archiving.capture(options.checkpointDir, source, options.captureOwner, others);
  let name: string | undefined;
  try {
    stop.throwIfAborted();
    onStep?.("uploading", 0);
    const takenAt = await store.now();
    name = formatCheckpointName({
      txId: capture.state.txId,
      takenAt,
      suffix: randomBytes(4).toString("hex"),
    });
    const archive = checkpointFile(name, "archive");
    lease.note({ archive, bytes: 0 });
    // Where an unfinished upload does not list, it is found by its name alone: that must be written down before it begins.
    if (store.tidy !== undefined) await lease.confirm();
    const packing = archiving.pack(capture.dir, {
      compression,
      tables: capture.state.format.kv === LEVEL_FORMAT,
      withinMs: uploadTime(options.approxFrequency),
      hurry: take.hurry,
      onProgress: (bytes) => {
        lease.note({ bytes });
        onStep?.("uploading", bytes);
      },
    });
    const expectedBytes = await packing.expectedBytes?.();
    const uploaded = await store.upload(archive, packing.archive, {
      signal: stop,
      ...(expectedBytes === undefined ? {} : { expectedBytes }),
      ...(packing.direct === undefined ? {} : { direct: packing.direct }),
    });
    lease.settle();
    const packed = packing.result();
    if (uploaded.bytes !== packed.bytes) throw cutShort(archive, uploaded.bytes, packed.bytes);
    onStep?.("publishing", packed.bytes);
    const manifest = describe(take, capture.state, takenAt, { ...packed, name: archive });
    // A process that stood still for longer than the lease must not publish beside the one that took over.
    await lease.confirm();
    stop.throwIfAborted();
    await publishManifest(
      store,
      checkpointFile(name, "manifest"),
      encodeManifest(manifest),
      take.clock ?? systemClock,
      () => lease.confirm(),
    );
    return { name, manifest, verified: false };
  } catch (error) {
    if (isCairnError(error, "INDEX_CORRUPT")) source.onDamage?.(error);
    if (name !== undefined) {
      await unpublish(store, name, error);
      if (await isTidy(store, checkpointFile(name, "archive"))) lease.settle();
    }
    throw error;
  } finally {
    await capture.drop();
  }
}

function describe(
  { source, options }: TakeOptions,
  state: IndexState,
  takenAt: number,
  { files, ...archive }: Manifest["archive"] & Pick<Manifest, "files">,
): Manifest {
  return {
    format: { ...state.format, archive: ARCHIVE_FORMATS[options.compression] },
    log: state.log,
    txId: state.txId,
    txTime: state.txTime,
    anchor: state.anchor,
    ...(state.chains === undefined ? {} : { chains: state.chains }),
    ...(state.purged === undefined ? {} : { purged: state.purged }),
    takenAt: new Date(takenAt).toISOString(),
    node: source.node,
    archive,
    files,
    documents: state.documents,
    version: source.version,
  };
}

/** The newest checkpoint of a log that this source's nodes can restore, as far as is known. */
async function findNewest(
  store: CheckpointStore,
  listed: readonly CheckpointFiles[],
  source: CheckpointSource,
  logId: string,
  witness: StoreWitness | undefined,
): Promise<StoredCheckpoint | undefined> {
  for await (const found of readCheckpoints(store, listed)) {
    if ("error" in found || found.manifest.log.id !== logId || !isCurrent(source, found.manifest)) continue;
    // Were it the newest, nothing would be saved in its place until something is written.
    if (source.isDamaged?.(found.name) === true || witness?.lostMark(found) === true) continue;
    if (source.agrees === undefined || (await source.agrees(found.manifest, found.name))) return found;
  }
  return undefined;
}
