import type { StoreEncryption } from "../encryption/key-file.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";

/** Returns `store` with keys, so that the callers of the store encrypt what they write to it. */
export function encryptedStore(store: CheckpointStore, encryption: StoreEncryption): CheckpointStore {
  return new Proxy(store, {
    get(_, name) {
      const member: unknown = name === "encryption" ? encryption : Reflect.get(store, name);
      // A store has private fields, which a proxy does not.
      return typeof member === "function" ? (member.bind(store) as unknown) : member;
    },
  });
}
