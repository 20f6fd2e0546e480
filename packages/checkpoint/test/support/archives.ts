import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { Header } from "tar";
import type { Manifest } from "../../src/index.ts";
import { NAME, someManifest } from "./manifests.ts";

/** An entry that a test chooses. It may be one that no checkpoint can have. */
export interface ForgedEntry {
  readonly path: string;
  readonly content?: Uint8Array;
  readonly type?: "File" | "SymbolicLink" | "Link" | "Directory" | "CharacterDevice" | "ExtendedHeader";
  readonly linkpath?: string;
}

/** Returns a tar archive of `entries`, which may be arbitrary. */
export function forgeArchive(entries: readonly ForgedEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const { path, content = Buffer.alloc(0), type = "File", linkpath } of entries) {
    const block = Buffer.alloc(512);
    const size = content.length;
    new Header({ path, size, type, mode: 0o644, ...(linkpath === undefined ? {} : { linkpath }) }).encode(
      block,
      0,
    );
    parts.push(block, Buffer.from(content), Buffer.alloc((512 - (size % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

/** Returns a manifest that expects `files` in `archive`. */
export function manifestOf(archive: Uint8Array, files: Record<string, Uint8Array>): Manifest {
  return {
    ...someManifest(),
    archive: { name: `${NAME}.tar`, bytes: archive.length },
    files: Object.entries(files).map(([name, content]) => ({
      name,
      bytes: content.length,
      sha256: sha256(content),
    })),
  };
}

/** Returns a stream of `content` in pieces of an odd size. */
export function streamOf(content: Uint8Array, piece = 10_007): Readable {
  const pieces: Buffer[] = [];
  for (let at = 0; at < content.length; at += piece)
    pieces.push(Buffer.from(content.subarray(at, at + piece)));
  return Readable.from(pieces, { objectMode: false });
}

/** Returns the SHA-256 in hexadecimal digits. */
export function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
