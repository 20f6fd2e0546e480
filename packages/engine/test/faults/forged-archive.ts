import { createHash } from "node:crypto";

/** An entry of a tar archive that no proper program would write. Its header may have any type, name and size. */
export interface ForgedEntry {
  readonly path: string;
  readonly content?: Buffer;
  /** The type in the header: "0" a file, "1" and "2" links, "5" a folder, "L" a long name, "S" sparse, "g" and "x" extended headers. */
  readonly type?: string;
  readonly linkPath?: string;
  /** A size that differs from the content's. */
  readonly size?: number;
}

const BLOCK = 512;

/** Returns a tar archive of arbitrary entries. The checksums of its headers are correct. */
export function forgeArchive(entries: readonly ForgedEntry[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const content = entry.content ?? Buffer.alloc(0);
    return [header(entry, content.length), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

/** Returns a record of an extended header, which sets a property of the next entry. */
export function extendedRecord(key: string, value: string): Buffer {
  const body = ` ${key}=${value}\n`;
  const length = body.length + String(body.length + 2).length;
  return Buffer.from(`${length}${body}`);
}

/** Returns the SHA-256 in hexadecimal digits. */
export function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function header({ path, type = "0", linkPath = "", size }: ForgedEntry, bytes: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(path.slice(0, 100), 0, "utf8");
  block.write("0000644\0", 100);
  block.write("0000000\0", 108);
  block.write("0000000\0", 116);
  writeSize(block, size ?? bytes);
  block.write("00000000000\0", 136);
  block.write("        ", 148);
  block.write(type, 156);
  block.write(linkPath.slice(0, 100), 157, "utf8");
  block.write("ustar\u{0}00", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/**
 * Writes a size. If eleven octal digits cannot express it, for example because it is negative, it is written in base
 * 256.
 */
function writeSize(block: Buffer, size: number): void {
  if (size >= 0 && size < 8 ** 11) {
    block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
    return;
  }
  block.fill(size < 0 ? 0xff : 0, 124, 136);
  block[124] = size < 0 ? 0xff : 0x80;
  block.writeBigInt64BE(BigInt(size), 128);
}
