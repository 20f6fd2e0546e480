import { isDeepStrictEqual } from "node:util";
import type { IndexState, Manifest } from "@cairn/checkpoint";
import { CairnError, type KvProvider } from "@cairn/kv";
import { fileReader, openIndex } from "../index/local-index.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import { checkAnchor } from "../log/anchor.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { continuesAt } from "../transactions/birth-record.ts";
import { capturedState } from "./captured-state.ts";

/** Whether a checkpoint is one that this node can read and that this log continues. */
export async function acceptManifest(
  manifest: Manifest,
  kvFormat: string,
  log: TxLog,
  identity: LogIdentity,
): Promise<true | CairnError> {
  const { anchor } = manifest;
  const foreign = judgeFormat(manifest, kvFormat);
  if (foreign !== undefined) return foreign;
  if (manifest.log.id !== identity.id) {
    return continuesAt(identity.birth, { logId: manifest.log.id, ...anchor }) ? true : otherHistory(manifest);
  }
  if (manifest.log.offset !== (identity.birth?.offset ?? manifest.log.offset)) {
    return new CairnError("CHECKPOINT_CORRUPT", "Its offset is not that of its log.", {
      hint: "An older checkpoint or the log itself is used instead.",
    });
  }
  const position = anchor.txId - manifest.log.offset;
  return (await checkAnchor(log, { position, sha256: anchor.sha256 })) ?? true;
}

/** Why this Cairn cannot read the index in a checkpoint; undefined when it can. */
export function judgeFormat({ format }: Pick<Manifest, "format">, kvFormat: string): CairnError | undefined {
  if (format.index === INDEX_VERSION && format.kv === kvFormat) return undefined;
  return new CairnError(
    "INDEX_VERSION",
    `It holds an index of version ${format.index} in ${format.kv}; this node reads version ${INDEX_VERSION} in ${kvFormat}.`,
    { hint: "An older checkpoint of this version or the log itself is used instead." },
  );
}

function otherHistory({ log, txId }: Manifest): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `It ends at transaction ${txId} of the log ${log.name} (${log.id}), which this log does not continue there.`,
    { hint: "It is left alone. The checkpoint that the log continues, or a newer one of this log, is used." },
  );
}

/** The restored index must say of itself what the manifest says of it. */
export async function verifyRestored(provider: KvProvider, dir: string, manifest: Manifest): Promise<void> {
  const { kv, state } = await openIndex(fileReader(provider), dir);
  let found: IndexState | undefined;
  try {
    const told = manifest.chains?.map(({ txId }) => txId);
    found = state === undefined ? undefined : await capturedState(kv, state, provider.format, told);
  } finally {
    await kv.close();
  }
  const claimed = claimedState(manifest);
  const differing = (Object.keys(claimed) as (keyof IndexState)[]).filter(
    (name) => !isDeepStrictEqual(found?.[name], claimed[name]),
  );
  if (differing.length === 0) return;
  const what = found === undefined ? "it holds nothing" : `it has another ${differing.join(", another ")}`;
  throw new CairnError("CHECKPOINT_CORRUPT", `The index in it is not what its manifest says: ${what}.`, {
    hint: "An older checkpoint or the log itself is used instead.",
  });
}

function claimedState({
  format,
  log,
  txId,
  txTime,
  anchor,
  chains = [],
  purged,
  documents,
}: Manifest): IndexState {
  return {
    format: { index: format.index, kv: format.kv },
    log: { id: log.id, name: log.name, offset: log.offset },
    txId,
    txTime,
    anchor: { txId: anchor.txId, sha256: anchor.sha256 },
    chains: chains.map((value) => ({ txId: value.txId, history: value.history, effects: value.effects })),
    ...(purged === undefined ? {} : { purged }),
    documents,
  };
}
