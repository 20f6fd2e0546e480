import { createHash } from "node:crypto";
import { CairnError, type KvReader, type KvRow } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { type IndexState, readState } from "../rows/index-state.ts";
import { ROW, rowTxId, versionStem, asBuffer, rowsOfKind } from "../rows/row-keys.ts";
import { unsealed } from "../rows/row-checksum.ts";
import {
  checkedVersion,
  versionContent,
  type VersionValue,
  versionValueRevision,
} from "../rows/version-values.ts";
import { firstRow, RowCursor } from "../rows/row-cursor.ts";
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
  const feed = new HashFeed();
  feed.add(Buffer.from(`cairn-digest/1\n${state.log.id}\n${txId}\n`));
  const [documents, tombstones, versions] = [ROW.document, ROW.tombstone, ROW.version].map(
    (kind) => new RowCursor(reader, rowsOfKind(kind), stemAndValue),
  ) as [StemCursor, StemCursor, StemCursor];
  await Promise.all([documents.next(), tombstones.next(), versions.next()]);
  for (;;) {
    const newest = earlier(documents, tombstones);
    const oldest = earlier(versions, newest);
    if (oldest.row === undefined) break;
    const { stem, value } = oldest.row;
    // A key's superseded versions come before its newest version, because `earlier` prefers its first argument.
    if (!past || versionValueRevision(value) <= txId) {
      feed.addSized(stem);
      feed.addSized(versionContent(value));
    }
    if (!oldest.advance()) await oldest.next();
  }
  return { txId, digest: `sha256:${feed.end()}` };
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
      `The index holds transactions ${log.offset + 1} to ${last}, not ${txId}.`,
    );
  }
  if (txId < cleaned) {
    throw new CairnError(
      "CONFLICT",
      `Transaction ${cleaned} removed history, so the index no longer contains the complete state at transaction ${txId}.`,
      "Request the digest at a later transaction.",
    );
  }
  const evicted = await firstRow(reader, evictionsAfter(txId));
  if (evicted === undefined) return;
  unsealed(...evicted);
  throw new CairnError(
    "CONFLICT",
    `Transaction ${rowTxId(evicted[0])} evicted documents, so the index no longer contains the complete state at transaction ${txId}.`,
    "Request the digest at a later transaction.",
  );
}

type StemCursor = RowCursor<{ readonly stem: Buffer; readonly value: VersionValue }>;

function stemAndValue(row: KvRow): { readonly stem: Buffer; readonly value: VersionValue } {
  const [key] = row;
  return {
    stem: key[0] === ROW.version ? versionStem(key) : asBuffer(key).subarray(1),
    value: checkedVersion(...row),
  };
}

function earlier(left: StemCursor, right: StemCursor): StemCursor {
  if (left.row === undefined) return right;
  if (right.row === undefined) return left;
  return Buffer.compare(left.row.stem, right.row.stem) <= 0 ? left : right;
}

/** Joins small pieces for a hash, because an update of a hash costs more than a copy of a row. */
class HashFeed {
  readonly #hash = createHash("sha256");
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  add(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes >= JOINED_BYTES) this.#flush();
  }

  addSized(piece: Uint8Array): void {
    const size = Buffer.allocUnsafe(4);
    size.writeUInt32BE(piece.length);
    this.add(size);
    this.add(piece);
  }

  end(): string {
    this.#flush();
    return this.#hash.digest("hex");
  }

  #flush(): void {
    this.#hash.update(Buffer.concat(this.#pieces));
    this.#pieces = [];
    this.#bytes = 0;
  }
}

const JOINED_BYTES = 256 * 1024;
