import { z } from "zod";
import type { Manifest } from "./checkpoint.ts";
import { checkpointFile } from "./checkpoint-name.ts";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { readStoredRecord } from "./stored-record.ts";

const VerificationSchema = z.object({
  verifiedAt: z.iso.datetime(),
  node: z.string(),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  archive: z.string().regex(/^[0-9a-f]{64}$/),
});

/**
 * The mark of a verification that succeeded: when (by the store's clock), by whom, the digest of the content that was found, and
 * the SHA-256 of the archive that it was found in.
 */
export type Verification = z.infer<typeof VerificationSchema>;

/** Marks a checkpoint that was read back, unpacked, opened and digested; a mark that is there is written anew. */
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
  // Of several who mark it at once any will do: they found the same.
  const before = await store.read(file);
  if (before === undefined) await store.create(file, text);
  else await store.replace(file, text, before.tag);
  return verification;
}

/** Takes back what {@link markVerified} said of a checkpoint; fine when it has no mark. */
export async function withdrawMark(store: CheckpointStore, name: string): Promise<void> {
  await store.remove(checkpointFile(name, "verified"));
}

/** The mark of a checkpoint; undefined when it has none, or one that is unreadable or was given to another archive. */
export async function readVerification(
  store: CheckpointStore,
  name: string,
  archive: Manifest["archive"],
): Promise<Verification | undefined> {
  const mark = await readStoredRecord(store, checkpointFile(name, "verified"), VerificationSchema);
  return mark?.archive === archive.sha256 ? mark : undefined;
}
