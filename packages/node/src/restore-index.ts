import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import path from "node:path";
import type { CheckpointStore } from "@cairn/checkpoint";
import type { DocumentKey, TxId } from "@cairn/client";
import {
  type AsOf,
  beyondReach,
  buildPlanned,
  type DocumentPage,
  fileReader,
  type HistoryPage,
  IndexStore,
  latestOf,
  logsIn,
  openIndex,
  type PastPoint,
  placePast,
  planPast,
  requireEmpty,
  type StoredDocument,
} from "@cairn/engine";
import { CairnError, levelProvider, removeFolder } from "@cairn/kv";

/** Where an index of the past comes from, and where it is built. */
export interface RestoreIndexOptions {
  /** The store of checkpoints and, if there is one, of the log's backup. */
  readonly store: CheckpointStore;
  /** The folder of the index, which must be empty or not exist. */
  readonly dir: string;
  /** A transaction, or the last one at or before a time. Defaults to the last that can be reached from the store. */
  readonly at?: { readonly txId: TxId } | { readonly time: Date };
  /** The id of the log, if the store contains several. */
  readonly logId?: string;
  readonly signal?: AbortSignal;
}

/** An index in a separate folder, open for reading. Nothing changes it. */
export interface RestoredIndex {
  readonly dir: string;
  /** `digest` equals the digest of a node at this transaction. */
  readonly txId: TxId;
  readonly time: string;
  readonly digest: string;
  /**
   * False if the store does not lead exactly to the requested point; the index then ends at the nearest one before it.
   */
  readonly exact: boolean;
  get(key: DocumentKey, asOf?: AsOf): Promise<StoredDocument | undefined>;
  /** Returns up to 100 documents of a bucket (or `limit`) in key order, and a cursor if there are more. */
  list(query: {
    readonly bucket: string;
    readonly prefix?: string;
    readonly limit?: number;
    readonly cursor?: string;
  }): Promise<DocumentPage>;
  /** Returns up to 100 versions of a document (or `limit`), newest first. */
  history(key: DocumentKey, limit?: number, cursor?: string): Promise<HistoryPage>;
  /** Closes the index. Its files remain. */
  close(): Promise<void>;
}

const PAGE = 100;

/**
 * Restores the index as of a point in its log's history from a store of checkpoints and log backups, and opens it.
 * Neither a node nor the log is required. Throws `CHECKPOINT_NOT_FOUND` if the point cannot be reached or the
 * transaction is beyond everything in the store, and `CONFLICT` if `dir` is not empty or the store contains several
 * logs. Also throws the errors of checkpoints, segments and stores.
 */
export async function restoreIndex(options: RestoreIndexOptions): Promise<RestoredIndex> {
  const { store, at, signal = new AbortController().signal } = options;
  const dir = path.resolve(options.dir);
  const work = path.join(path.dirname(dir), `.cairn-restore-${randomBytes(4).toString("hex")}`);
  const provider = levelProvider();
  const nodeId = `restoreIndex on ${hostname()}`;
  const system = { nodeId, kvProvider: provider, checkpointer: { store } };
  await requireEmpty(dir);
  try {
    const logId = options.logId ?? (await onlyLog(store, signal));
    const wanted = { stores: [store], kvFormat: provider.format, logId, at: pointOf(at), signal };
    const { plan, past } = await buildPlanned(
      async (found) => {
        const planned = await planPast({ ...wanted, found });
        const last = `Choose transaction ${planned.txId} or an earlier one, because no later one can be reached.`;
        const refusal = beyondReach(planned, wanted.at, store.location, last);
        if (refusal !== undefined) throw refusal;
        return planned;
      },
      { system, dir: work, signal },
      () => undefined,
    );
    await placePast(past, dir);
    return await open(dir, past.digest, plan.exact);
  } finally {
    await removeFolder(work);
  }
}

function pointOf(at: RestoreIndexOptions["at"]): PastPoint | undefined {
  return at !== undefined && "time" in at ? { time: at.time.getTime() } : at;
}

async function open(dir: string, digest: string, exact: boolean): Promise<RestoredIndex> {
  const { kv, state } = await openIndex(fileReader(levelProvider()), dir);
  if (state === undefined) throw new Error("the restored index is empty");
  const index = await IndexStore.open(kv, state);
  return {
    dir,
    txId: state.txId,
    time: new Date(state.time).toISOString(),
    digest,
    exact,
    get: async (key, asOf) => await index.get(key, asOf),
    list: async ({ limit = PAGE, ...query }) => await index.list({ ...query, limit }),
    history: async (key, limit = PAGE, cursor) => await index.history(key, limit, cursor),
    close: async () => await index.close(),
  };
}

async function onlyLog(store: CheckpointStore, signal: AbortSignal): Promise<string> {
  const [first, ...others] = [...(await latestOf(store, await logsIn(store, signal))).keys()];
  if (first !== undefined && others.length === 0) return first;
  if (first === undefined)
    throw new CairnError(
      "CHECKPOINT_NOT_FOUND",
      `${store.location} has no checkpoint and no log backup.`,
      "Name the store to which nodes save.",
    );
  throw new CairnError(
    "CONFLICT",
    `${store.location} contains several logs: ${[first, ...others].toSorted().join(", ")}.`,
    "Choose one of them with logId.",
  );
}
