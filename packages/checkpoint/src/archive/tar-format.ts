import { Header } from "tar/header";

export const BLOCK = 512;

/** The maximum length of a name in a tar header without extensions. It ensures that every archive is plain ustar. */
export const NAME_LIMIT = 100;

/** The size of the two empty blocks that end an archive, in bytes. */
export const END_OF_ARCHIVE = 2 * BLOCK;

export function paddingOf(bytes: number): number {
  return (BLOCK - (bytes % BLOCK)) % BLOCK;
}

export function archiveSize(files: Iterable<{ readonly bytes: number }>): number {
  let size = END_OF_ARCHIVE;
  for (const { bytes } of files) size += BLOCK + bytes + paddingOf(bytes);
  return size;
}

/** The header has no owner and no time, so that the same files produce the same archive. */
export function writeHeader(target: Buffer, name: string, bytes: number): void {
  const header = new Header({ path: name, size: bytes, mode: 0o644, type: "File", mtime: new Date(0) });
  // The library omits fields without a value.
  target.fill(0, 0, BLOCK);
  header.encode(target, 0);
}

/** Returns "end" for an empty block, and a clause that describes the problem of a bad one. */
export function readHeader(
  block: Buffer,
): { readonly name: string; readonly bytes: number } | "end" | { readonly fault: string } {
  if (block.every((byte) => byte === 0)) return "end";
  const header = parse(block);
  if (header === undefined) return { fault: "a header cannot be read" };
  if (!header.cksumValid) return { fault: "a header is damaged" };
  const { path = "", size } = header;
  if (header.type !== "File")
    return { fault: `${JSON.stringify(path)} is a ${header.type}, not a regular file` };
  if (size === undefined) return { fault: `the size of ${JSON.stringify(path)} cannot be read` };
  return { name: path, bytes: size };
}

function parse(block: Buffer): Header | undefined {
  try {
    return new Header(block, 0);
  } catch {
    // The library only parses these bytes, so any error means that they are not a header.
    return undefined;
  }
}
