// @module-tag rest/slow
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpointStoreSuite, memoryStore } from "@cairn/checkpoint/testing";
import { openEmbeddedTxLog } from "@cairn/engine";
import { describeTrimming, describeTxLog } from "@cairn/engine/testing";
import { levelProvider } from "@cairn/kv";
import { kvStoreSuite } from "@cairn/kv/testing";
import { KV_PROVIDER } from "../../src/boundary/checked-kv.ts";
import { TX_LOG } from "../../src/boundary/checked-log.ts";
import { checkedPart } from "../../src/boundary/checked-part.ts";
import { CHECKPOINT_STORE } from "../../src/boundary/checked-store.ts";

kvStoreSuite("a checked store", { provider: checkedPart(levelProvider(), KV_PROVIDER, "a module") });

checkpointStoreSuite("a checked store", {
  open: async () => checkedPart(memoryStore(), CHECKPOINT_STORE, "a module"),
  hasRanges: true,
});

for (const suite of [describeTxLog, describeTrimming]) {
  suite("a checked log", async () => {
    const path = await mkdtemp(join(tmpdir(), "cairn-checked-"));
    return {
      open: async () => checkedPart(await openEmbeddedTxLog({ path: join(path, "log") }), TX_LOG, "a module"),
      close: () => rm(path, { recursive: true }),
    };
  });
}
