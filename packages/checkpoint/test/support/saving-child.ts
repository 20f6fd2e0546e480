// This process saves checkpoints into a folder until it is killed: node saving-child.js STORE CAPTURE NODE
import { isCairnError } from "@cairn/kv";
import { filesystemStore, takeCheckpoint } from "../../src/index.ts";
import { sweepStore } from "../../src/retain/sweep.ts";
import { filesAt } from "@cairn/test-support/stores/index-files";
import { testSource } from "@cairn/test-support/stores/test-source";

const [, , path = "", checkpointDir = "", node = ""] = process.argv;
const store = filesystemStore({ path });
const source = testSource(node);
for (;;) {
  source.txId += 1;
  source.files = filesAt(source.txId);
  try {
    await round();
  } catch (error) {
    // The lease is short, and may be lost on a busy machine.
    if (!isCairnError(error, "CONFLICT")) throw error;
  }
}

async function round(): Promise<void> {
  const outcome = await takeCheckpoint({
    source,
    forced: true,
    leaseMs: 200,
    options: { store, approxFrequency: 1, checkpointDir, compression: "none" },
  });
  if (outcome.outcome === "taken") {
    await sweepStore({
      store,
      source,
      logId: source.logId,
      policy: { retainAtLeast: 2 },
      orphanGraceMs: 300,
    });
    process.stdout.write(`${outcome.checkpoint.name}\n`);
  } else source.txId = Math.max(source.txId, outcome.newest?.manifest.txId ?? 0);
}
