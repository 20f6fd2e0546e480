import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { CheckpointSource, IndexState } from "../../src/index.ts";

/** A directory that goes away with the test. */
export async function temporaryDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "cairn-checkpoint-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** The digests of the files of a directory: comparing large buffers one byte at a time takes seconds. */
export async function contentsOf(dir: string): Promise<Record<string, string>> {
  const found: Record<string, Buffer> = {};
  for (const name of (await readdir(dir)).toSorted()) found[name] = await readFile(join(dir, name));
  return digestsOf(found);
}

/** The digests of files, to compare with {@link contentsOf}. */
export function digestsOf(files: Record<string, Uint8Array>): Record<string, string> {
  const entries = Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    entries.map(([name, content]) => [name, createHash("sha256").update(content).digest("hex")]),
  );
}

/** Files of many sizes around the block and chunk sizes of archives. */
export function someFiles(seed = 0): Record<string, Buffer> {
  const sizes = [0, 1, 511, 512, 513, 70_000, 1_048_576 - 512, 1_048_576, 1_048_577];
  return Object.fromEntries(sizes.map((size, at) => [`0000${at}.ldb`, Buffer.alloc(size, `${seed}-${at}-`)]));
}

/** Writes files to a directory that it makes. */
export async function writeFiles(dir: string, files: Record<string, Uint8Array>): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
}

/** A source whose index is what the test says. */
export interface TestSource extends CheckpointSource {
  logId: string;
  txId: number;
  files: Record<string, Uint8Array>;
  /** Captures that began. */
  captures: number;
  lostBeyond: number;
  /** Awaited at the beginning of a capture. */
  beforeCapture: () => Promise<void>;
}

/** An index at transaction 1 with some files. */
export function testSource(node = "node-1"): TestSource {
  return {
    node,
    version: "0.1.0",
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
      await writeFiles(dir, files);
      return state;
    },
  };
}

function stateOf({ logId, txId }: TestSource): IndexState {
  return {
    format: { index: 1, kv: "test/1" },
    log: { id: logId, name: "cairn", offset: 0 },
    txId,
    txTime: new Date(txId).toISOString(),
    anchor: { txId, sha256: "0".repeat(64) },
    documents: txId,
  };
}
