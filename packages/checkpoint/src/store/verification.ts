import { z } from "zod";
import type { Manifest } from "./checkpoint.ts";
import { checkpointFile } from "./checkpoint.ts";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { readStoredRecord } from "./stored-record.ts";

const VerificationSchema = z.object({
  verifiedAt: z.iso.datetime(),
  node: z.string(),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  archive: z.string().regex(/^[0-9a-f]{64}$/),
});

/**
 * The mark of a successful verification: its time by the store's clock, the node, the digest of the content, and the SHA-256 of the archive.
 */
export type Verification = z.infer<typeof VerificationSchema>;

/** Marks a checkpoint as verified, after it was read back, unpacked, opened and digested. Replaces an existing mark. */
export async function markVerified(
  store: CheckpointStore,
  name: string,
  found: { readonly node: string; readonly digest: string; readonly archive: Manifest["archive"] },
): Promise<Verification> {
  const file = checkpointFile(name, "verified");
  const verifiedAt = new Date(await store.now()).toISOString();
  const { node, digest, archive } = found;
  const verification = VerificationSchema.parse({ verifiedAt, node, digest, archive: archive.sha256 });
  const text = `${JSON.stringify(verification, null, 1)}\n`;
  // If several nodes mark a checkpoint at once, any mark will do: they are equivalent.
  const before = await store.read(file);
  if (before === undefined) await store.create(file, text);
  else await store.replace(file, text, before.tag);
  return verification;
}

/** Removes the mark of a checkpoint; does nothing if it has none. */
export async function withdrawMark(store: CheckpointStore, name: string): Promise<void> {
  await store.remove(checkpointFile(name, "verified"));
}

/** Returns the mark of a checkpoint; undefined if it has none, or one that is unreadable or belongs to another archive. */
export async function readVerification(
  store: CheckpointStore,
  name: string,
  archive: Manifest["archive"],
): Promise<Verification | undefined> {
  const mark = await readStoredRecord(store, checkpointFile(name, "verified"), VerificationSchema);
  return mark?.archive === archive.sha256 ? mark : undefined;
}
