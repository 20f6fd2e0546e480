import {
  type ArchivedFiles,
  type CheckpointStore,
  findCandidates,
  type SkippedCheckpoint,
  type StoredManifest,
} from "@cairn/checkpoint";
import { CairnClient, type TxId } from "@cairn/client";
import type { NodeAccess } from "@cairn/client/protocol";
import { CairnError, LEVEL_FORMAT } from "@cairn/kv";
import { badValue } from "@cairn/text";
import { judgeFormat } from "../checkpoints/accept-checkpoint.ts";
import { asCheckpointError, openArchivedIndex } from "../checkpoints/archived-index.ts";
import { IndexPosition } from "../index/index-position.ts";
import type { IndexStore } from "../index/index-store.ts";
import { LocalAccess, type LocalApi } from "./local-access.ts";
import { NodeReads } from "./node-reads.ts";
import type { ReadableLife } from "./read-place.ts";

export interface OpenCheckpointOptions {
  /** The store of the checkpoint: a folder or S3. */
  readonly store: CheckpointStore;
  /** The name of the checkpoint. Defaults to the newest one in the store that this version can read. */
  readonly name?: string;
  /** Only checkpoints of this log are considered. Defaults to all logs. */
  readonly logId?: string;
  /** Ends the opening and all later reads. */
  readonly signal?: AbortSignal;
}

/** A checkpoint that is read where it is. */
export interface OpenedCheckpoint {
  readonly name: string;
  /** The location of its store. */
  readonly store: string;
  readonly log: StoredManifest["log"];
  /** The last transaction that it contains, and its time in ISO 8601. */
  readonly txId: TxId;
  readonly txTime: string;
  /** Reads the documents, their history, events, policies and queues. Everything else fails with `LOG_READ_ONLY`. */
  readonly client: CairnClient;
  /** What was read of its archive so far. */
  readonly counts: ArchivedFiles["counts"];
  /** Releases the store's file; the store itself stays open. */
  close(): Promise<void>;
}

/**
 * Opens a checkpoint without downloading it: only what each read needs is fetched from the archive, and compared with its
 * checksums. Throws `CHECKPOINT_NOT_FOUND`, `CHECKPOINT_CORRUPT`, `INDEX_VERSION`, `KEY_MISSING`, the errors of the store,
 * and `REQUEST_INVALID` if the archive is compressed or the store cannot read parts of files. Reads throw these as well.
 * Nothing is written to the store, so a retention policy may remove the checkpoint in the meantime; reads then fail.
 */
export async function openCheckpoint(options: OpenCheckpointOptions): Promise<OpenedCheckpoint> {
  const { access, ...opened } = await openCheckpointAccess(options);
  return { ...opened, client: new CairnClient({ access }) };
}

/** Like {@link openCheckpoint}, for callers that read page by page. */
export async function openCheckpointAccess(
  options: OpenCheckpointOptions,
): Promise<Omit<OpenedCheckpoint, "client"> & { readonly access: NodeAccess }> {
  requireOptions(options);
  const { store, signal } = options;
  const found = await findCheckpoint(options);
  const opened = await openArchivedIndex(store, found, { signal });
  const { name, manifest } = found;
  const { txId, txTime, log } = manifest;
  const { counts } = opened.files;
  const access = new LocalAccess(checkpointApi(found, opened.index));
  return { name, store: store.location, log, txId, txTime, counts, access, close: () => opened.close() };
}

/** Also for programs without types: a misspelt option would otherwise choose another checkpoint. */
function requireOptions(options: OpenCheckpointOptions): void {
  const known: readonly string[] = [
    "store",
    "name",
    "logId",
    "signal",
  ] satisfies (keyof OpenCheckpointOptions)[];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw badValue(`openCheckpoint has no option ${JSON.stringify(unknown)}.`, OPTIONS);
  const { store } = options as { readonly store?: Partial<CheckpointStore> | null };
  if (typeof store?.list !== "function") throw badValue("store must be a checkpoint store.", OPTIONS);
}

const OPTIONS =
  'Use store, and as needed name, logId and signal: openCheckpoint({ store: filesystemStore({ path: "checkpoints" }) }).';

interface FoundCheckpoint {
  readonly name: string;
  readonly manifest: StoredManifest;
}

async function findCheckpoint({
  store,
  name,
  logId,
  signal,
}: OpenCheckpointOptions): Promise<FoundCheckpoint> {
  const skipped: SkippedCheckpoint[] = [];
  let unreadable: CairnError | undefined;
  const onSkipped = (one: SkippedCheckpoint): void => void skipped.push(one);
  for await (const found of findCandidates([store], { name, logId, signal, onSkipped })) {
    const foreign = judgeFormat(found.manifest, LEVEL_FORMAT);
    if (foreign === undefined) return found;
    const hint = "Use an older checkpoint, or the version of Cairn that wrote this one.";
    unreadable ??= new CairnError(foreign.code, `${found.name}: ${foreign.message}`, hint);
  }
  const reason = skipped[0]?.error ?? unreadable;
  if (name !== undefined && reason !== undefined) throw reason;
  throw new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `There is no ${name === undefined ? "usable checkpoint" : `checkpoint ${name}`} in ${store.location}.`,
    reason === undefined
      ? "Choose one that cairn checkpoint list prints, or another store."
      : `${reason.message} ${reason.hint ?? ""}`.trimEnd(),
  );
}

function checkpointApi({ name, manifest }: FoundCheckpoint, index: IndexStore): LocalApi {
  const { txId, txTime } = manifest;
  const readOnly = new CairnError(
    "LOG_READ_ONLY",
    `The checkpoint ${name} can only be read, and ends with transaction ${txId} of ${txTime}.`,
    "Use a node for everything else, and for what is newer.",
  );
  const refuse = (): never => {
    throw readOnly;
  };
  const refused = (): Promise<never> => Promise.reject(readOnly);
  const position = new IndexPosition();
  position.set(txId);
  position.fail(readOnly);
  const life: ReadableLife = {
    phase: "ready",
    agrees: true,
    failure: undefined,
    log: undefined,
    services: undefined,
    position,
    index,
    ending: readOnly,
    suspect: (_, error) => asCheckpointError(name, error),
  };
  const reads = new NodeReads(
    life,
    { checkpointer: undefined, commandLine: (command) => `cairn ${command}` },
    refused,
  );
  return Object.assign(reads, {
    phase: life.phase,
    submit: refused,
    watch: refuse,
    follow: refuse,
    queryIndex: refused,
    status: refused,
    cluster: refused,
  });
}
