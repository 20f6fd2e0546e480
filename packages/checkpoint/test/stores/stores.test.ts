import { rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkpointStoreSuite, faultyStore, memoryStore } from "../../testing/index.ts";
import { filesystemStore } from "../../src/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";

checkpointStoreSuite("a store in memory", { open: async () => memoryStore() });

checkpointStoreSuite("a store in a folder", {
  open: async () => filesystemStore({ path: join(await temporaryDirectory(), "new", "store") }),
  reopen: async (store) => filesystemStore({ path: fileURLToPath(store.location) }),
  away: async (store) => rename(fileURLToPath(store.location), `${fileURLToPath(store.location)}-away`),
});

checkpointStoreSuite("a faulty store without faults", { open: async () => faultyStore(memoryStore(), {}) });
