import type { CheckpointSource, CapturedState } from "@cairn/checkpoint";
import {
  CairnError,
  isCairnError,
  type KvProvider,
  type KvReader,
  type KvStore,
  liveTableNames,
  namesIn,
  removeFolder,
  TIMED_OUT,
  unlessFailed,
  withTimeout,
} from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { chainsOf } from "../index/chains/chain-values.ts";
import { purgedUpTo } from "../index/rows/purge-row.ts";
import { holdsTransactions, INDEX_VERSION, type IndexState, isReadable } from "../index/rows/index-state.ts";
import type { IndexStore } from "../index/index-store.ts";
import { readIndex } from "../index/local-index.ts";
import { addOwnFiles } from "../own-indexes/checkpointed-files.ts";
import type { OwnIndexes } from "../own-indexes/own-indexes.ts";
import { mayContain } from "../log/anchor.ts";
import type { TxLog } from "../log/tx-log.ts";
import { isoTime, VERSION } from "@cairn/text";
import { checkFiles } from "./check-content.ts";
import { ChainWindow } from "../index/chains/chain-window.ts";

interface IndexSourceOptions {
  readonly node: string;
  readonly provider: KvProvider;
  readonly index: IndexStore;
  readonly log: TxLog;
  readonly purge: () => Promise<void>;
  readonly ownIndexes?: OwnIndexes | undefined;
  readonly onError?: (error: unknown) => void;
}

export function indexSource(
  options: IndexSourceOptions,
): CheckpointSource & Required<Pick<CheckpointSource, "agrees">> {
  const { node, provider, index, log, purge, ownIndexes, onError = () => undefined } = options;
  const checkedFor = new Set<string>();
  let mustCheck = false;
  return {
    node,
    version: VERSION,
    format: { index: INDEX_VERSION, kv: provider.format },
    reads: (format) => isReadable(format, provider.format),
    agrees: async (manifest) => await mayContain(log, manifest),
    position: () => {
      const { state } = index;
      const { log: of, txId } = state;
      return Promise.resolve(holdsTransactions(txId) ? { logId: of.id, txId } : undefined);
    },
    capture: async (dir, others) => {
      const own = `${dir}.own`;
      try {
        await purge();
        await removeFolder(own);
        // These come first, so that none is newer than the index.
        await ownIndexes?.capture(own);
        await captureInTime(index.rows, dir, provider.format);
        await addOwnFiles(own, dir);
      } catch (error) {
        onError(error);
        throw error;
      } finally {
        await removeFolder(own);
      }
      return await readCaptured(provider, dir, others);
    },
    check: async (dir, damaged, signal) => {
      if (!mustCheck && damaged.every((name) => checkedFor.has(name))) return;
      // Until a check has passed, the index may be wrong, even if the marked checkpoints have left the store.
      mustCheck = true;
      await checkFiles(provider, dir, signal);
      mustCheck = false;
      for (const name of damaged) checkedFor.add(name);
    },
    onDamage: onError,
  };
}

/** How long a checkpoint waits for the copy of an index (ms). A kv-store that is not LevelDB may have to copy all of it. */
const CAPTURE_MS = 1_800_000;

/** Captures that were given up. Each may hold a thread or the disk for ever, so there is one for an index. */
const unended = new WeakSet<object>();

/** Captures an index. Once the time is up, removes what the kv-store has copied whenever it ends after all. */
export async function captureInTime(
  rows: Pick<KvStore, "capture">,
  dir: string,
  format: string,
  limitMs: number = CAPTURE_MS,
): Promise<void> {
  if (!unended.has(rows)) {
    const capturing = rows.capture(dir, { unchecked: true });
    if ((await withTimeout(capturing, limitMs)) !== TIMED_OUT) return;
    unended.add(rows);
    const remove = async (): Promise<void> => {
      unended.delete(rows);
      await unlessFailed(removeFolder(dir), "any", undefined);
    };
    void capturing.then(remove, remove);
  }
  throw new CairnError(
    "SYSTEM_REFUSED",
    `The kv-store (${format}) has not copied the index within ${limitMs / 60_000} minutes.`,
    "Check the disk of the node and, if the kv-store is a module of your own, its capture. Nothing was published, and the rounds go on once the copy has ended. If it does not end, restart the node.",
  );
}

/** Reads the state from the copy itself, because the live index may have advanced since the capture. */
async function readCaptured(
  provider: KvProvider,
  dir: string,
  others: readonly TxId[] | undefined,
): Promise<CapturedState> {
  const captured = await namesIn(dir);
  try {
    return await readIndex(provider, dir, async ({ kv, state }) => {
      if (state !== undefined) return await capturedState(kv, state, provider.format, others);
      // Only indexes with transactions are captured. If the copy has no state, it was opened as a new index because its
      // files had been removed.
      throw removed(dir);
    });
  } catch (error) {
    if (isCairnError(error, "INDEX_CORRUPT") && (await lacksFiles(dir, captured))) throw removed(dir, error);
    throw error;
  }
}

/** Returns whether files of the copy were removed, apart from those that LevelDB itself replaces. */
async function lacksFiles(dir: string, captured: readonly string[]): Promise<boolean> {
  if (!captured.includes("CURRENT")) return true;
  const left = new Set(await namesIn(dir));
  if (captured.some((name) => !name.startsWith("LO") && !name.endsWith(".log") && !left.has(name)))
    return true;
  try {
    await liveTableNames(dir);
    return false;
  } catch (error) {
    if (isCairnError(error)) return error.code === "CHECKPOINT_INCOMPLETE";
    throw error;
  }
}

function removed(dir: string, cause?: CairnError): CairnError {
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `Files of the capture in ${dir} were removed before it was saved.`,
    {
      hint: "Prevent other programs from removing files in the checkpoint-dir and in the folder of the index. If files of the index are missing, too, restart the node, which then rebuilds its index. Nothing was published.",
      cause,
    },
  );
}

/** Includes the chains at the transactions `others`. Throws `INDEX_CORRUPT` if the chains do not match the state. */
export async function capturedState(
  reader: KvReader,
  state: IndexState,
  kvFormat: string,
  others: readonly TxId[] = [],
): Promise<CapturedState> {
  return {
    format: { index: state.version, kv: kvFormat },
    log: { id: state.log.id, name: state.log.name, offset: state.log.offset },
    txId: state.txId,
    txTime: isoTime(state.time),
    anchor: { txId: state.txId, sha256: state.sha256 },
    chains: await chainsOf(reader, await ChainWindow.load(reader, state), others),
    unshown: state.unshown,
    purged: await purgedUpTo(reader, state.txId),
    documents: state.documents,
  };
}
