import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { type CheckpointStore, openArchive, type StoredManifest } from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { archiveSize, BLOCK } from "@cairn/checkpoint/src/archive/tar-format";
import { checkpointFile, encodeManifest } from "@cairn/checkpoint/src/store/checkpoint";
import { levelFileName } from "@cairn/kv/src/files/level-files";
import {
  decodeLevelManifest,
  encodeLevelManifest,
  type LevelTable,
} from "@cairn/kv/src/files/level-manifest";
import type { BucketPlace } from "./bucket.ts";

const TABLE_BYTES = 2 << 20;
/** LevelDB's last level, and the tag of a table in its manifest. */
const LAST_LEVEL = 6;
const NEW_FILE = 7;

/** A checkpoint whose manifests have more tables than there are. */
export interface EnlargedCheckpoint {
  readonly name: string;
  /** The checkpoint itself. */
  readonly place: BucketPlace;
  /** The manifests with more tables: that of the checkpoint and, instead of an archive, that of LevelDB. */
  readonly enlarged: BucketPlace;
  /** The size that the archive would have. */
  readonly bytes: number;
  /** The place in it of LevelDB's manifest, which is its last file. */
  readonly last: number;
}

/**
 * Writes the manifests of a checkpoint with so many more tables that its archive would have `bytes`. The keys of these
 * tables are behind all others, so that no read of a document needs them.
 */
export async function enlargeCheckpoint(
  { name, place, enlarged }: Pick<EnlargedCheckpoint, "name" | "place" | "enlarged">,
  manifest: StoredManifest,
  bytes: number,
): Promise<EnlargedCheckpoint> {
  const [from, to] = [s3Store(place), s3Store(enlarged)];
  try {
    const last = manifest.files.at(-1);
    if (last?.name.startsWith("MANIFEST-") !== true)
      throw new Error("LevelDB's manifest is not the last file");
    const archive = await openArchive(from, name, manifest);
    const level = decodeLevelManifest(await archive.whole(last.name));
    await archive.close();
    const count = Math.max(0, Math.ceil((bytes - manifest.archive.bytes) / (TABLE_BYTES + BLOCK)));
    const added = Array.from({ length: count }, (_, at) => missingTable(level.nextFile + at));
    const tables = new Map([...level.tables.values(), ...added].map((table) => [table.number, table]));
    const content = encodeLevelManifest({ ...level, tables });
    const others = [
      ...manifest.files.slice(0, -1),
      ...added.map(({ number }) => fileOf(levelFileName(number, "ldb"), TABLE_BYTES, Buffer.alloc(0))),
    ];
    const files = [...others, fileOf(last.name, content.length, content)];
    const total = archiveSize(files);
    const { text } = encodeManifest({ ...manifest, files, archive: { ...manifest.archive, bytes: total } });
    await to.upload(manifest.archive.name, Readable.from([content]));
    await to.create(checkpointFile(name, "manifest"), text);
    return { name, place, enlarged, bytes: total, last: archiveSize(others) - archiveSize([]) + BLOCK };
  } finally {
    await from.close();
    await to.close();
  }
}

/** Opens the store of an enlarged checkpoint, of which everything but the added tables can be read. */
export function enlargedStore({ place, enlarged, bytes, last }: EnlargedCheckpoint): CheckpointStore {
  const [from, to] = [s3Store(place), s3Store(enlarged)];
  return {
    ...to,
    list: async (prefix) =>
      (await to.list(prefix)).map((file) => (file.name.endsWith(".tar") ? { ...file, bytes } : file)),
    async openRanges(name) {
      const [tables, manifest] = await Promise.all([from.openRanges?.(name), to.openRanges?.(name)]);
      if (tables === undefined || manifest === undefined) throw new Error("the store has no ranges");
      return {
        read: async (start, end, signal) =>
          await (start < last
            ? tables.read(start, end, signal)
            : manifest.read(start - last, end - last, signal)),
        async close() {
          await tables.close();
          await manifest.close();
        },
      };
    },
    async close() {
      await from.close();
      await to.close();
    },
  };
}

function fileOf(name: string, bytes: number, content: Buffer): StoredManifest["files"][number] {
  return { name, bytes, sha256: createHash("sha256").update(content).digest("hex") };
}

/** A table of the last level, whose only key is behind all that an index has. */
function missingTable(number: number): LevelTable {
  const key = Buffer.concat([Buffer.from([0xff]), Buffer.from(String(number).padStart(9, "0"))]);
  // A sequence number and a type follow the key.
  const bound = [key.length + 8, ...key, ...Buffer.alloc(8, 1)];
  const numbers = [NEW_FILE, LAST_LEVEL, number, TABLE_BYTES].flatMap(varint);
  const entry = Buffer.from([...numbers, ...bound, ...bound]);
  return { number, level: LAST_LEVEL, bytes: TABLE_BYTES, first: key, last: key, entry };
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
