import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { Archiving } from "../../src/save/save-checkpoint.ts";
import type { CheckpointSource } from "../../src/index.ts";
import type { NodeLife } from "../../testing/simulation/node-life.ts";
import type { VirtualTime } from "../../testing/simulation/virtual-time.ts";

/** The id of the log that all simulated nodes follow. */
export const LOG_ID = "log-a";

const PIECES = 8;
const PIECE_BYTES = 128;
/** The size of every simulated archive. It serves as a unit, so that bytes count uploads. */
export const ARCHIVE_BYTES = PIECES * PIECE_BYTES;

/** The transaction log that all nodes follow; writes to it pause and resume. */
export interface SimulatedLog {
  txId(): number;
  isWriting(): boolean;
  stop(): void;
  go(): void;
}

/** Returns a log to which a transaction is written every `msPerTx`, the first one after `emptyFor` (ms). */
export function simulatedLog(time: VirtualTime, msPerTx: number, emptyFor = 0): SimulatedLog {
  const begin = time.now() + emptyFor;
  let written = 1;
  let since: number | undefined = begin;
  const txId = (): number =>
    time.now() < begin ? 0 : Math.floor(written + (since === undefined ? 0 : (time.now() - since) / msPerTx));
  return {
    txId,
    isWriting: () => since !== undefined,
    stop() {
      written = txId();
      since = undefined;
    },
    go() {
      since ??= time.now();
    },
  };
}

/**
 * Returns a node's index, and its archiving: a copy takes `captureMs`, during which the log continues, and a
 * transaction is replayed in 1 ms.
 */
export function simulatedIndex(
  life: NodeLife,
  log: SimulatedLog,
  captureMs: number,
): { readonly source: CheckpointSource; readonly archiving: Archiving } {
  let captured = 0;
  const source: CheckpointSource = {
    node: life.node,
    version: "test",
    format: { index: 1, kv: "test/1" },
    position: async () => (log.txId() === 0 ? undefined : { logId: LOG_ID, txId: log.txId() }),
    agrees: async () => true,
    async capture() {
      captured = log.txId();
      const txId = captured;
      await life.clock.wait(captureMs);
      return {
        format: { index: 1, kv: "test/1" },
        log: { id: LOG_ID, name: "cairn", offset: 0 },
        txId,
        txTime: new Date(txId).toISOString(),
        anchor: { txId, sha256: "0".repeat(64) },
        chains: [],
        purged: txId,
        documents: txId,
      };
    },
  };
  return {
    source,
    archiving: {
      directory: () => ({ make: async () => undefined, drop: async () => undefined }),
      capture: async (dir, from) => ({ dir, state: await from.capture(dir), drop: async () => undefined }),
      pack: async (_, { onProgress } = {}) => {
        const content = archiveAt(captured);
        const sha256 = createHash("sha256").update(content).digest("hex");
        const bytes = content.length;
        return {
          archive: Readable.from(pieces(content, onProgress), { objectMode: false, highWaterMark: 1 }),
          expectedBytes: bytes,
          result: () => ({ bytes, files: [{ name: "000001.ldb", bytes, sha256 }] }),
        };
      },
    },
  };
}

/** Returns the transaction of an archive's data. */
export function transactionIn(archive: Buffer): number {
  return Number.parseInt(archive.toString("latin1"), 10);
}

function archiveAt(txId: number): Buffer {
  return Buffer.from(`${txId} `.padEnd(ARCHIVE_BYTES, "-"));
}

function* pieces(
  content: Buffer,
  onProgress: ((bytes: number) => void) | undefined,
): Generator<Buffer, void, undefined> {
  for (let at = 0; at < content.length; at += PIECE_BYTES) {
    yield content.subarray(at, at + PIECE_BYTES);
    onProgress?.(at + PIECE_BYTES);
  }
}
