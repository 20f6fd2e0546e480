import { type CheckpointStore, decodeRecipient, encryptedStore, readEncryption } from "@cairn/checkpoint";
import { mapOf } from "../types/map-type.ts";
import { optional, required, withDefault } from "../types/parameter.ts";
import { boolean, listOf, neededFile, privateText } from "../types/value-types.ts";
import { madeOnce } from "@cairn/text";

export const encryption = mapOf("encryption", {
  "key-file": required(
    neededFile(),
    "A file with identities of age, as age-keygen writes it. Every node of the cluster needs the same identities.",
  ),
  recipients: optional(
    listOf(
      // A wrong value may be the identity itself, which age-keygen prints without -y.
      privateText(
        "recipient of age",
        "a recipient of age, as age-keygen -y prints it",
        (recipient) => decodeRecipient(recipient) !== undefined,
      ),
    ),
    "Further recipients of age that can decrypt.",
    "none: only holders of the identities decrypt",
  ),
  "accept-plain?": withDefault(
    boolean(),
    false,
    "Whether checkpoints and segments that are not encrypted are used, while a cluster begins to encrypt.",
  ),
});

/** The function returns the same object for the same store. Throws `CONFIG_INVALID` for an unreadable key file. */
export async function keyedStores(
  parameters: ReturnType<typeof encryption.read>,
): Promise<(store: CheckpointStore) => CheckpointStore> {
  if (parameters === undefined) return (store) => store;
  const keys = await readEncryption(parameters.keyFile, parameters);
  const made = new Map<CheckpointStore, CheckpointStore>();
  return (store) => madeOnce(made, store, () => encryptedStore(store, keys));
}
