import type { KvOperation, KvRange, KvReader, KvRow } from "../src/store/kv-store.ts";

/** Encodes a string as UTF-8. */
export function bytes(value: string): Uint8Array {
  return new Uint8Array(Buffer.from(value));
}

/** Decodes bytes as UTF-8; undefined stays undefined. */
export function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString();
}

/** Returns an operation that writes a row. */
export function put(key: string, value: string): KvOperation & { type: "put" } {
  return { type: "put", key: bytes(key), value: bytes(value) };
}

/** Returns an operation that removes a row. */
export function del(key: string): KvOperation & { type: "del" } {
  return { type: "del", key: bytes(key) };
}

/** Formats a number as a string, so that strings sort in numerical order. */
export function numbered(value: number): string {
  return String(value).padStart(8, "0");
}

/** Decodes rows as strings. */
export function textOf(rows: readonly KvRow[]): [key: string, value: string][] {
  return rows.map(([key, value]) => [Buffer.from(key).toString(), Buffer.from(value).toString()]);
}

/** Returns all rows of a range as strings. */
export async function rowsOf(reader: KvReader, range: KvRange = {}): Promise<[key: string, value: string][]> {
  const found: [string, string][] = [];
  for await (const rows of reader.range(range)) found.push(...textOf(rows));
  return found;
}
