import { createHash } from "node:crypto";
import { CairnError, type KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { type IndexState, readState } from "../rows/index-state.ts";
import { ROW, type RowKind, rowTxId, versionStem, asBuffer, rowsOfKind } from "../rows/row-keys.ts";
import { unsealed } from "../rows/row-checksum.ts";
import {
  checkedVersion,
  versionContent,
  type VersionValue,
  versionValueRevision,
} from "../rows/version-values.ts";
import { firstRow, merged } from "../rows/row-cursor.ts";
import { evictionsAfter } from "../rows/purge-row.ts";
import { withoutEvicted } from "../purge/evicted-versions.ts";

/**
 * Computes the digest of an index's logical content (docs/internals/index-format.md), which is the same on every node
 * with the same prefix of the same log; undefined for an empty index. `rows` must be a snapshot, or a store that is not
 * being written to. With `at`, the digest as of then: throws `CONFLICT` if the history does not cover that transaction.
 */
export async function digestIndex(
  rows: KvReader,
  at?: TxId,
): Promise<{ txId: TxId; digest: string } | undefined> {
  const reader = await withoutEvicted(rows);
  const state = await readState(reader);
  if (state === undefined) return undefined;
  const txId = at ?? state.txId;
  const past = txId !== state.txId;
  if (past) await checkPast(reader, state, txId);
  const hash = createHash("sha256").update(`cairn-digest/1\n${state.log.id}\n${txId}\n`);
  const sources = KINDS.map((kind) => versionsOf(reader, kind));
  for await (const versions of merged(sources, inOrder)) {
    for (const { stem, value } of versions)
      if (!past || versionValueRevision(value) <= txId) hash.update(sized(stem, versionContent(value)));
  }
  return { txId, digest: `sha256:${hash.digest("hex")}` };
}

/** Throws `CONFLICT` unless the index still has every version up to `txId`. */
async function checkPast(
  reader: KvReader,
  { txId: last, log, cleaned = 0 }: IndexState,
  txId: TxId,
): Promise<void> {
  if (txId > last || txId <= log.offset) {
    throw new CairnError(
      "CONFLICT",
      `The log of the index begins with transaction ${log.offset + 1}, and the index ends with ${last}, so it has no digest at ${txId}.`,
      `Request the digest at a transaction from ${log.offset + 1} to ${last}. It contains the id of the log, so an index has none of an earlier log that its log continues.`,
    );
  }
  const evicted = await firstRow(reader, evictionsAfter(txId));
  if (evicted !== undefined) unsealed(...evicted);
  const removal = txId < cleaned ? cleaned : evicted && rowTxId(evicted[0]);
  if (removal === undefined) return;
  throw new CairnError(
    "CONFLICT",
    `Transaction ${removal} removed history or evicted documents, so the index no longer contains the complete state at transaction ${txId}.`,
    "Request the digest at a later transaction.",
  );
}

/** The superseded versions of a key come before its newest one. */
const KINDS: readonly RowKind[] = [ROW.version, ROW.document, ROW.tombstone];

interface StoredVersion {
  readonly stem: Buffer;
  readonly kind: RowKind;
  readonly value: VersionValue;
}

async function* versionsOf(reader: KvReader, kind: RowKind): AsyncGenerator<readonly StoredVersion[], void> {
  for await (const rows of reader.range(rowsOfKind(kind)))
    yield rows.map((row) => {
      const stem = kind === ROW.version ? versionStem(row[0]) : asBuffer(row[0]).subarray(1);
      return { stem, kind, value: checkedVersion(...row) };
    });
}

function inOrder(a: StoredVersion, b: StoredVersion): number {
  return Buffer.compare(a.stem, b.stem) || KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind);
}

/** Returns both, each after its length in 4 bytes: an update of a hash costs more than a copy of a row. */
function sized(stem: Uint8Array, content: Uint8Array): Buffer {
  const both = Buffer.allocUnsafe(8 + stem.length + content.length);
  both.set(stem, both.writeUInt32BE(stem.length, 0));
  both.set(content, both.writeUInt32BE(content.length, 4 + stem.length));
  return both;
}
