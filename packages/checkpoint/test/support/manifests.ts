import { createHash } from "node:crypto";
import type { Manifest } from "../../src/index.ts";

/** The name that {@link someManifest} belongs to. */
export const NAME = "checkpoint-1000-2026-11-20T06-12-26.123Z-1f3a9c0e";

/** Returns a manifest that is valid except for what the test changes. */
export function someManifest(change: { archiveName?: string; files?: string[] } = {}): Manifest {
  const sha256 = "a".repeat(64);
  return {
    format: { index: 1, kv: "leveldb/1", archive: "tar/1" },
    log: { id: "b7", name: "cairn", offset: 0 },
    txId: 1000,
    txTime: "2026-11-20T06:00:00.000Z",
    anchor: { txId: 1000, sha256 },
    chains: [],
    purged: 1000,
    takenAt: "2026-11-20T06:12:26.123Z",
    durationMs: 412,
    node: "node-1",
    archive: { name: change.archiveName ?? `${NAME}.tar`, bytes: 2048 },
    files: (change.files ?? ["CURRENT"]).map((name) => ({ name, bytes: 16, sha256 })),
    documents: 300,
    version: "test",
  };
}

/** Returns the text of a manifest with arbitrary content, and the checksum that belongs to it. */
export function sealed(content: object): string {
  const checked = JSON.stringify(content, null, 1).slice(0, -"\n}".length);
  return `${checked},\n "sha256": "${createHash("sha256").update(checked).digest("hex")}"\n}`;
}
