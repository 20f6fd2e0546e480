import type { KvReader } from "@cairn/kv";
import { bytesText, kindName } from "../rows/row-names.ts";

/** The number of rows of a kind, and the sizes in bytes of their keys and values before compression. */
export interface RowMeasure {
  readonly kind: string;
  rows: number;
  keyBytes: number;
  valueBytes: number;
}

/** Measures rows by kind, in key order. Unless `isIndex`, the rows (of any LevelDB database) count as one kind. */
export async function measureRows(reader: KvReader, isIndex: boolean): Promise<RowMeasure[]> {
  const measures = new Map<number, RowMeasure>();
  for await (const page of reader.range({})) {
    for (const [key, value] of page) {
      const byte = isIndex ? (key[0] ?? -1) : -1;
      let measure = measures.get(byte);
      if (measure === undefined) {
        measure = { kind: nameOf(byte, key), rows: 0, keyBytes: 0, valueBytes: 0 };
        measures.set(byte, measure);
      }
      measure.rows += 1;
      measure.keyBytes += key.length;
      measure.valueBytes += value.length;
    }
  }
  return [...measures.values()];
}

function nameOf(byte: number, key: Uint8Array): string {
  return byte < 0 ? "row" : (kindName(byte) ?? `unknown ${bytesText(key.subarray(0, 1))}`);
}
