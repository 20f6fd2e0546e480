import { checkpointStoreSuite } from "@cairn/checkpoint/testing";
import type { CheckpointStore } from "@cairn/checkpoint";
import { memoryS3 } from "./support/memory-s3.ts";
import type { MemoryS3 } from "./support/memory-s3.ts";

const servers = new WeakMap<CheckpointStore, MemoryS3>();

// Services that evaluate conditions in the usual way, or not at all, are tested in separate processes.
for (const conditions of ["bare", "refused"] as const) {
  checkpointStoreSuite(`a store in S3 with conditions ${conditions}`, {
    async open() {
      const server = await memoryS3({ conditions });
      const store = server.store();
      servers.set(store, server);
      return store;
    },
    async reopen(store) {
      return servers.get(store)?.store() ?? store;
    },
    async away(store) {
      const { quirks } = servers.get(store) ?? {};
      if (quirks !== undefined) quirks.interfere = (_, response) => response.destroy() === response;
    },
    hasRanges: true,
  });
}
