import { CairnError, type KvReader } from "@cairn/kv";
import type { DocumentKey, TxId } from "@cairn/client";
import { earliestWrites } from "./eviction-origins.ts";
import { unsealed } from "../rows/row-checksum.ts";
import { parseNumberedStem, parseStem, ROW, rowsOfKind, transactionRowKey } from "../rows/row-keys.ts";
import { decodeOutcome } from "../rows/row-values.ts";
import { isoTime } from "../../text/iso-time.ts";

/** A key that was evicted. */
export interface Eviction extends DocumentKey {
  /** By which transaction. */
  readonly txId: TxId;
  readonly txTime: string;
}

/** An eviction as the index knows it. */
export interface DatedEviction extends Eviction {
  /** No transaction before this one wrote anything of what was evicted. */
  readonly notBefore: TxId;
}

/** A page of evictions, newest first. */
export interface EvictionPage {
  readonly evictions: readonly DatedEviction[];
  readonly cursor?: string;
}

/** What was evicted, newest first. */
export async function readEvictions(reader: KvReader, limit: number, cursor?: string): Promise<EvictionPage> {
  const { gte, lt } = rowsOfKind(ROW.eviction);
  const end = cursor === undefined ? lt : Buffer.from(cursor, "base64url");
  if (Buffer.compare(end, gte) < 0 || Buffer.compare(end, lt) > 0) {
    throw new CairnError("TX_INVALID", "The cursor is not one that the evictions answered.", {
      hint: "Begin again without a cursor, or follow the Link header as it is.",
    });
  }
  const evictions: Eviction[] = [];
  let last: Uint8Array | undefined;
  for await (const rows of reader.range({ gte, lt: end, reverse: true, limit: limit + 1 })) {
    for (const [key, value] of rows) {
      if (evictions.length === limit && last !== undefined) {
        return { evictions: await dated(reader, evictions), cursor: Buffer.from(last).toString("base64url") };
      }
      unsealed(key, value);
      const { number: txId, stem } = parseNumberedStem(key);
      const row = transactionRowKey(txId);
      const outcome = await reader.get(row);
      const time = outcome === undefined ? 0 : decodeOutcome(row, outcome).time;
      evictions.push({ txId, txTime: isoTime(time), ...parseStem(stem) });
      last = key;
    }
  }
  return { evictions: await dated(reader, evictions) };
}

async function dated(reader: KvReader, evictions: readonly Eviction[]): Promise<DatedEviction[]> {
  const writes = await earliestWrites(reader, evictions);
  return evictions.map((eviction, index) => ({ ...eviction, notBefore: writes[index] ?? 0 }));
}
