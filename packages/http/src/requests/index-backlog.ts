import type { TxId } from "@cairn/client";
import type { NodeApi } from "@cairn/engine";

/** These bounds are a multiple of what the index reads and applies at a time, so that it never runs out of work. */
const MAX_UNINDEXED_TRANSACTIONS = 4_096;
const MAX_UNINDEXED_BYTES = 8 * 1024 * 1024;
/** The time without progress of the index after which batches continue without it (ms). */
const STALLED_MS = 5_000;

/**
 * What the batches of a node have stored in the log beyond its index. A log stores faster than an index applies:
 * without waiting, reads would be of an ever older state, and awaited writes would time out. All batches share one
 * backlog, because clients send a long file as many batches.
 */
export class IndexBacklog {
  /** The last transactions of stored pieces, and the sizes of these pieces; oldest first. */
  #pieces: { readonly txId: TxId; readonly bytes: number }[] = [];
  #bytes = 0;
  /** The last transaction of the index as of the last wait. */
  #position: TxId = 0;

  /** Adds lines of `bytes` that the log has stored, the last one as `txId`. */
  add(txId: TxId, bytes: number): void {
    // Concurrent batches may report their lines in a different order than that of the log.
    const last = this.#pieces.at(-1)?.txId ?? 0;
    this.#pieces.push({ txId: Math.max(txId, last), bytes });
    this.#bytes += bytes;
  }

  /**
   * Waits until the backlog is within its bounds. If the index makes no progress, the backlog is forgotten and batches
   * go on, because they promise only that the log has their lines.
   */
  async room(api: Pick<NodeApi, "indexed">): Promise<void> {
    for (let wanted = this.#wanted(); wanted !== undefined; wanted = this.#wanted()) {
      const before = this.#position;
      this.#position = await api.indexed(wanted, { timeoutMs: STALLED_MS });
      const upTo = this.#position > before ? this.#position : Infinity;
      const left = this.#pieces.findIndex(({ txId }) => txId > upTo);
      const dropped = this.#pieces.splice(0, left < 0 ? this.#pieces.length : left);
      for (const { bytes } of dropped) this.#bytes -= bytes;
    }
  }

  /** Returns the transaction that the index must contain before there is room; undefined if there is room. */
  #wanted(): TxId | undefined {
    const last = this.#pieces.at(-1)?.txId ?? 0;
    let wanted = last - MAX_UNINDEXED_TRANSACTIONS;
    let bytes = this.#bytes;
    for (const piece of this.#pieces) {
      if (bytes <= MAX_UNINDEXED_BYTES) break;
      bytes -= piece.bytes;
      wanted = Math.max(wanted, piece.txId);
    }
    return wanted > this.#position ? wanted : undefined;
  }
}
