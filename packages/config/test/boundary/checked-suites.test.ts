// @module-tag rest/slow
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpointStoreSuite, memoryStore } from "@cairn/checkpoint/testing";
import { openEmbeddedTxLog } from "@cairn/engine";
import { describeTrimming, describeTxLog } from "@cairn/engine/testing";
import { levelProvider } from "@cairn/kv";
import { kvStoreSuite } from "@cairn/kv/testing";
import { checkedKvProvider } from "../../src/boundary/checked-kv.ts";
import { checkedLog } from "../../src/boundary/checked-log.ts";
import { checkedStore } from "../../src/boundary/checked-store.ts";

kvStoreSuite("a checked store", { provider: checkedKvProvider(levelProvider(), "a module") });

checkpointStoreSuite("a checked store", {
  open: async () => checkedStore(memoryStore(), "a module"),
  hasRanges: true,
});

for (const suite of [describeTxLog, describeTrimming]) {
  suite("a checked log", async () => {
    const path = await mkdtemp(join(tmpdir(), "cairn-checked-"));
    return {
      open: async () => checkedLog(await openEmbeddedTxLog({ path: join(path, "log") }), "a module"),
      close: () => rm(path, { recursive: true }),
    };
  });
}
