import { Inbox } from "@cairn/kv/threads";
import { BLOCK } from "./tar-format.ts";

/** The maximum size of a piece in bytes. Most LevelDB tables are smaller, so each forms a single piece. */
export const PIECE_BYTES = 4 * 1024 * 1024;

/** Memory is reused, because garbage of this size is collected late, and collecting it blocks everything else. */
export class PieceMemory extends Inbox<ArrayBuffer> {
  /** Creates a pool of `pieces`, each with room for a header and padding. What was taken is put back. */
  constructor(pieces: number) {
    super(Array.from({ length: pieces }, () => new ArrayBuffer(PIECE_BYTES + 2 * BLOCK)));
  }
}
