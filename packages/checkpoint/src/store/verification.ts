import { CairnError, unlessFailed } from "@cairn/kv";
import { z } from "zod";
import { checkpointFile, type StoredManifest } from "./checkpoint.ts";
import type { CheckpointStore } from "./checkpoint-store.ts";
import { type CheckpointFiles, checkpointFiles, readCheckpoints } from "./list-checkpoints.ts";
import { openText, sealText } from "./sealed-text.ts";
import { MAX_RECORD_LENGTH, parseStoredRecord } from "./stored-record.ts";

const VerificationSchema = z.object({
  verifiedAt: z.iso.datetime(),
  node: z.string(),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  manifest: z.string().regex(/^[0-9a-f]{64}$/),
});

/** The time is by the store's clock, and the checksum that of the manifest. */
export type Verification = z.infer<typeof VerificationSchema>;

type VerifiedManifest = Pick<StoredManifest, "sha256">;

/**
 * Call after the checkpoint was read back, unpacked, opened and digested, while its reservation holds. Replaces any mark,
 * even one of damage. If the checkpoint was removed meanwhile, leaves no mark, and throws `CHECKPOINT_NOT_FOUND`.
 */
export async function markVerified(
  store: CheckpointStore,
  name: string,
  found: { readonly node: string; readonly digest: string; readonly manifest: VerifiedManifest },
): Promise<Verification> {
  const file = checkpointFile(name, "verified");
  const verifiedAt = new Date(await store.now()).toISOString();
  const { node, digest, manifest } = found;
  const verification = VerificationSchema.parse({ verifiedAt, node, digest, manifest: manifest.sha256 });
  // The digest tells about the content, so it is encrypted as well.
  const text = await sealText({ name: file }, `${JSON.stringify(verification, null, 1)}\n`, store.encryption);
  // If several nodes mark a checkpoint at once, any mark may remain, because they are equivalent.
  const before = await store.read(file);
  if (before === undefined) await store.create(file, text);
  else await store.replace(file, text, before.tag);
  const damaged = checkpointFile(name, "damaged");
  // Not every store permits removals, and hardly any checkpoint has this mark.
  if ((await store.read(damaged)) !== undefined) await store.remove(damaged);
  // A removal begins with the manifest: if that is still there, the removal finds the mark.
  if ((await store.read(checkpointFile(name, "manifest"))) === undefined) {
    await store.remove(file);
    throw new CairnError(
      "CHECKPOINT_NOT_FOUND",
      `${name} was removed from ${store.location} while it was verified.`,
      "Verify another one that cairn checkpoint list prints: a sweep or cairn checkpoint prune has removed this one.",
    );
  }
  return verification;
}

/**
 * Lets every node see the damage in the listing. Damaged checkpoints do not count as saved, and neither trimming nor
 * retention relies on them. Damage visible in the listing or manifest is not marked: such a checkpoint may not be
 * completely copied yet.
 */
export async function markDamaged(
  store: CheckpointStore,
  names: readonly string[],
  node: string,
): Promise<void> {
  const listed = (await checkpointFiles(store)).filter((files) => names.includes(files.name));
  for (const files of listed) {
    try {
      if (files.damaged === undefined) await createDamageMark(store, files, node);
    } finally {
      if (files.verified !== undefined) await store.remove(checkpointFile(files.name, "verified"));
    }
  }
}

async function createDamageMark(store: CheckpointStore, files: CheckpointFiles, node: string): Promise<void> {
  for await (const found of readCheckpoints(store, [files])) {
    if ("error" in found) return;
    const foundAt = new Date(await store.now()).toISOString();
    const text = `${JSON.stringify({ foundAt, node }, null, 1)}\n`;
    await store.create(checkpointFile(files.name, "damaged"), text);
  }
}

/** Reads a mark; undefined if it does not exist, or if no holder of a key wrote it. */
async function readMark(store: CheckpointStore, file: string): Promise<Verification | undefined> {
  const read = async (): Promise<Verification | undefined> => {
    const stored = await store.read(file);
    if (stored === undefined || stored.text.length > MAX_RECORD_LENGTH) return undefined;
    return await openText(file, stored.text, store.encryption, {
      parse: (sealed) => parseStoredRecord(z.unknown(), sealed),
      corrupt: (why) => new CairnError("CHECKPOINT_CORRUPT", `The mark ${file} is invalid: ${why}.`),
      decode: (text) => parseStoredRecord(VerificationSchema, text),
    });
  };
  return await unlessFailed(read(), ["CHECKPOINT_CORRUPT", "KEY_MISSING", "PLAIN_REFUSED"], undefined);
}

/** Undefined if the checkpoint has no mark, or one that is unreadable or belongs to another manifest. */
export async function readVerification(
  store: CheckpointStore,
  name: string,
  manifest: VerifiedManifest,
): Promise<Verification | undefined> {
  const mark = await readMark(store, checkpointFile(name, "verified"));
  return mark?.manifest === manifest.sha256 ? mark : undefined;
}
