import { type CheckpointStore, decodeRecipient, encryptedStore, readEncryption } from "@cairn/checkpoint";
import { omitUndefined } from "../source/omit-undefined.ts";
import { mapOf } from "../types/map-type.ts";
import { optional, required, withDefault } from "../types/parameter.ts";
import type { ValueType } from "../types/reading.ts";
import { boolean, listOf, path, text } from "../types/value-types.ts";

export interface EncryptionParameters {
  readonly keyFile: string;
  readonly recipients: readonly string[] | undefined;
  readonly acceptPlain: boolean;
}

const plain = text();
const recipient: ValueType<string> = {
  ...plain,
  name: "recipient of age",
  jsonSchema: { type: "string", pattern: "^age1[0-9a-z]+$" },
  read(node, at, reading) {
    const value = plain.read(node, at, reading);
    if (value === undefined || decodeRecipient(value) !== undefined) return value;
    // The value is not printed, because it may be the identity itself, which age-keygen prints without -y.
    reading.problems.add(node.origin, at, "Expected a recipient of age, as age-keygen -y prints it.");
    return undefined;
  },
};

export const encryption: ValueType<EncryptionParameters> = mapOf(
  "encryption",
  {
    "key-file": required(
      path(),
      "A file with identities of age, as age-keygen writes it. Every node of the cluster needs the same identities.",
    ),
    recipients: optional(
      listOf(recipient),
      "Further recipients of age that can decrypt.",
      "none: only holders of the identities decrypt",
    ),
    "accept-plain?": withDefault(
      boolean(),
      false,
      "Whether checkpoints and segments that are not encrypted are used, while a cluster begins to encrypt.",
    ),
  },
  (values) => ({
    keyFile: values["key-file"],
    recipients: values.recipients,
    acceptPlain: values["accept-plain?"],
  }),
);

/** The function returns the same object for the same store. Throws `CONFIG_INVALID` for an unreadable key file. */
export async function keyedStores(
  parameters: EncryptionParameters | undefined,
): Promise<(store: CheckpointStore) => CheckpointStore> {
  if (parameters === undefined) return (store) => store;
  const { keyFile, recipients, acceptPlain } = parameters;
  const keys = await readEncryption(keyFile, omitUndefined({ recipients, acceptPlain }));
  const made = new Map<CheckpointStore, CheckpointStore>();
  return (store) => {
    const keyed = made.get(store) ?? encryptedStore(store, keys);
    made.set(store, keyed);
    return keyed;
  };
}
