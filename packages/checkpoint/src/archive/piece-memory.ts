import { Inbox } from "@cairn/kv/threads";
import { BLOCK } from "./tar-format.ts";

/** Files up to this size are one piece; most of LevelDB's tables are smaller. */
export const PIECE = 4 * 1024 * 1024;

/** Memory for pieces that is used again and again: garbage of this size is collected late, and while everybody waits. */
export class PieceMemory {
  readonly #free: Inbox<ArrayBuffer>;

  /** For so many pieces at once, each with room for a header and padding. */
  constructor(pieces: number) {
    this.#free = new Inbox(Array.from({ length: pieces }, () => new ArrayBuffer(PIECE + 2 * BLOCK)));
  }

  take(): Promise<ArrayBuffer> {
    return this.#free.take();
  }

  giveBack(memory: ArrayBuffer): void {
    this.#free.put(memory);
  }

  /** What was taken will not come back; whoever waits for it is told why. */
  fail(error: unknown): void {
    this.#free.fail(error);
  }
}
