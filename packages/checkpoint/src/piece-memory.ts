import { BLOCK } from "./tar-format.ts";

/** Files up to this size are one piece; most of LevelDB's tables are smaller. */
export const PIECE = 4 * 1024 * 1024;

/** Memory for pieces that is used again and again: garbage of this size is collected late, and while everybody waits. */
export class PieceMemory {
  readonly #free: ArrayBuffer[];
  readonly #waiting: ((memory: ArrayBuffer) => void)[] = [];

  /** For so many pieces at once, each with room for a header and padding. */
  constructor(pieces: number) {
    this.#free = Array.from({ length: pieces }, () => new ArrayBuffer(PIECE + 2 * BLOCK));
  }

  async take(): Promise<ArrayBuffer> {
    return this.#free.pop() ?? (await new Promise((resolve) => this.#waiting.push(resolve)));
  }

  giveBack(memory: ArrayBuffer): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#free.push(memory);
    else waiting(memory);
  }
}
