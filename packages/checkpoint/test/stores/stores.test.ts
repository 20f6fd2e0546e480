import { rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  checkpointStoreSuite,
  encryptionWith,
  faultyStore,
  memoryStore,
  newIdentity,
} from "../../testing/index.ts";
import { encryptedStore, filesystemStore } from "../../src/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";

checkpointStoreSuite("a store in memory", { open: async () => memoryStore(), hasRanges: true });

checkpointStoreSuite("a store in a folder", {
  open: async () => filesystemStore({ path: join(await temporaryDirectory(), "new", "store") }),
  reopen: async (store) => filesystemStore({ path: fileURLToPath(store.location) }),
  away: async (store) => rename(fileURLToPath(store.location), `${fileURLToPath(store.location)}-away`),
  hasRanges: true,
});

checkpointStoreSuite("a faulty store without faults", {
  open: async () => faultyStore(memoryStore(), {}),
  hasRanges: true,
});

const IDENTITY = newIdentity();

checkpointStoreSuite("a store with keys", {
  open: async () =>
    encryptedStore(memoryStore(), await encryptionWith(await temporaryDirectory(), [IDENTITY])),
  hasRanges: true,
});
