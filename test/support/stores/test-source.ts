import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointSource, CapturedState } from "@cairn/checkpoint";

/** A source whose index the test chooses. */
export interface TestSource extends CheckpointSource {
  logId: string;
  txId: number;
  files: Record<string, Uint8Array>;
  /** The number of captures that have begun. */
  captures: number;
  lostBeyond: number;
  /** Awaited at the beginning of a capture. */
  beforeCapture: () => Promise<void>;
}

/** Returns an index at transaction 1 with some files. */
export function testSource(node = "node-1"): TestSource {
  return {
    node,
    version: "test",
    format: { index: 1, kv: "test/1" },
    logId: "log-a",
    txId: 1,
    files: { CURRENT: Buffer.from("MANIFEST-1\n"), "000001.ldb": randomBytes(100_000) },
    captures: 0,
    lostBeyond: Number.MAX_SAFE_INTEGER,
    beforeCapture: async () => undefined,
    async position() {
      return this.txId === 0 ? undefined : { logId: this.logId, txId: this.txId };
    },
    async agrees(manifest) {
      return manifest.txId <= this.lostBeyond;
    },
    async capture(dir) {
      this.captures += 1;
      const state = stateOf(this);
      const { files } = this;
      await this.beforeCapture();
      await mkdir(dir);
      for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
      return state;
    },
  };
}

function stateOf({ logId, txId, format = { index: 1, kv: "test/1" } }: TestSource): CapturedState {
  return {
    format,
    log: { id: logId, name: "cairn", offset: 0 },
    txId,
    txTime: new Date(txId).toISOString(),
    anchor: { txId, sha256: "0".repeat(64) },
    chains: [],
    purged: txId,
    documents: txId,
  };
}
