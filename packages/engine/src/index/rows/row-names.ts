import { isUtf8 } from "node:buffer";
import { ROW, type RowKind, END, ESCAPED, ID_BYTES } from "./row-keys.ts";

const NAMES = new Map<number, string>(
  Object.entries(ROW).map(([name, kind]) => [
    kind,
    name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`),
  ]),
);

/** The kinds whose key ends with a stem, each with the stem's offset. */
const STEM_AT = new Map<number, number>([
  [ROW.document, 1],
  [ROW.tombstone, 1],
  [ROW.version, 1],
  [ROW.place, 1],
  [ROW.due, 9],
  [ROW.expired, 9],
  [ROW.eviction, 9],
  [ROW.content, 9],
  [ROW.erasure, 17],
]);

/** Of the kinds without a stem, those whose key begins with a number. So do those whose stem is behind one. */
const NUMBERED = new Set<number>([ROW.transaction, ROW.submissionOrder, ROW.link, ROW.chainEntries]);

/** Returns the name of a kind, such as `document` or `transaction`; undefined for a byte that is not a kind. */
export function kindName(kind: RowKind | number | undefined): string | undefined {
  return kind === undefined ? undefined : NAMES.get(kind);
}

/**
 * Formats a row's key in readable form: `document pods/default/web-0`. Accepts any bytes, including the shortened keys
 * of LevelDB's index blocks. Parts that are not UTF-8 are written as `0x…`.
 */
export function rowName(key: Uint8Array): string {
  const [kind = -1] = key;
  const name = kindName(kind);
  const stemAt = STEM_AT.get(kind);
  if (name === undefined) return bytesText(key);
  if ((NUMBERED.has(kind) || (stemAt ?? 0) > ID_BYTES) && key.length >= 1 + ID_BYTES) {
    const number = Buffer.from(key.subarray(1, 1 + ID_BYTES)).readBigUInt64BE();
    return [name, number, ...(stemAt === undefined ? [] : [stemText(key.subarray(stemAt))])].join(" ");
  }
  if (kind === ROW.shard || kind === ROW.openEntry) return `${name} ${queueText(key.subarray(1))}`;
  if (stemAt === undefined || key.length <= stemAt) return `${name} ${bytesText(key.subarray(1))}`.trimEnd();
  return `${name} ${stemText(key.subarray(stemAt))}`;
}

/** Returns the queue and the shard of a row key's rest, and the origin of an open entry as it is. */
function queueText(rest: Uint8Array): string {
  const bytes = Buffer.from(rest);
  const end = bytes.indexOf(END);
  if (end < 0 || bytes.length < end + 5) return bytesText(bytes);
  const queue = `${bytesText(bytes.subarray(0, end))}/${bytes.readUInt32BE(end + 1)}`;
  return bytes.length < end + 13 ? queue : `${queue} ${bytes.readBigUInt64BE(end + 5)}`;
}

/** Returns the parts of a stem joined by slashes, without the bytes after the third part (a version's revision). */
function stemText(stem: Uint8Array): string {
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at <= stem.length && parts.length < 3; at++) {
    const isEnd = at === stem.length || (stem[at] === END && stem[at + 1] !== ESCAPED);
    if (!isEnd) continue;
    if (at > from || at < stem.length)
      parts.push(bytesText(stem.subarray(from, at).filter((byte) => byte !== ESCAPED)));
    from = at + 1;
  }
  return parts.join("/");
}

/** Formats bytes as text if they are UTF-8, and otherwise as hexadecimal digits. */
export function bytesText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer) && !buffer.includes(END) ? buffer.toString("utf8") : `0x${buffer.toString("hex")}`;
}
