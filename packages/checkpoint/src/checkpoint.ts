import { z } from "zod";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits");
const Position = z.int().min(0);
/** Names inside an archive: plain file names only, so nothing can be written outside the target directory. */
const FileName = z
  .string()
  .max(255)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "expected a plain file name");

/** What a manifest must be; anything else is not a checkpoint. Source: docs/checkpoint-format.md. */
export const ManifestSchema = z.object({
  format: z.object({ index: z.int(), kv: z.string(), archive: z.string() }),
  log: z.object({ id: z.string().min(1), name: z.string().min(1), offset: Position }),
  txId: Position,
  txTime: z.iso.datetime(),
  anchor: z.object({ txId: Position, sha256: Sha256 }),
  takenAt: z.iso.datetime(),
  node: z.string(),
  archive: z.object({ name: FileName, bytes: Position, sha256: Sha256 }),
  files: z.array(z.object({ name: FileName, bytes: Position, sha256: Sha256 })).min(1),
  documents: Position,
  version: z.string(),
});

/** A checkpoint's manifest, as stored beside its archive. Times are ISO-8601 in UTC, sizes bytes, digests lower-case hex. */
export type Manifest = z.infer<typeof ManifestSchema>;

/** The part of a manifest that only the index itself can tell; read from the captured copy, never from the live index. */
export type IndexState = Pick<Manifest, "log" | "txId" | "txTime" | "anchor" | "documents"> & {
  readonly format: { readonly index: number; readonly kv: string };
};
