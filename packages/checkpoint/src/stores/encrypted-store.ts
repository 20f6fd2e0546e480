import type { StoreEncryption } from "../encryption/key-file.ts";
import type { CheckpointStore } from "../store/checkpoint-store.ts";

/** Returns `store` with keys, so that the callers of the store encrypt what they write to it. */
export function encryptedStore(store: CheckpointStore, encryption: StoreEncryption): CheckpointStore {
  const { identity, shared, readOnly, tidy, describe } = store;
  return {
    encryption,
    location: store.location,
    ...(identity === undefined ? {} : { identity }),
    ...(shared === undefined ? {} : { shared }),
    ...(readOnly === undefined ? {} : { readOnly }),
    get exclusive() {
      return store.exclusive;
    },
    list: (prefix) => store.list(prefix),
    upload: (name, content, options) => store.upload(name, content, options),
    open: (name, options) => store.open(name, options),
    read: (name) => store.read(name),
    create: (name, text, options) => store.create(name, text, options),
    replace: (name, text, tag) => store.replace(name, text, tag),
    remove: (name, options) => store.remove(name, options),
    now: () => store.now(),
    ...(describe === undefined ? {} : { describe: () => describe.call(store) }),
    ...(tidy === undefined ? {} : { tidy: (options) => tidy.call(store, options) }),
    close: () => store.close(),
  };
}
