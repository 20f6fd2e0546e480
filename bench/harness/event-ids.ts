const MARK = Buffer.from("\nid: ");
const LINE_END = 0x0a;
const ZERO = 0x30;
/** The offset of the kind: an id is followed by a line break, `event: ` and the event's kind, which begins with `t` for `tx`. */
const KIND_OFFSET = 8;
const LETTER_T = 0x74;

/**
 * Finds the transaction ids in a stream of server-sent events without parsing the rest, because one process follows a
 * thousand streams. A document cannot look like an id, because it contains no line breaks.
 */
export class EventIds {
  count = 0;
  /** The number of ids that were not greater than the newest id before them. */
  repeated = 0;
  newest = 0;
  /** The beginning of an incomplete id. */
  #rest: Buffer | undefined;

  take(part: Buffer): void {
    const bytes = this.#rest === undefined ? part : Buffer.concat([this.#rest, part]);
    const cut = this.#scan(bytes);
    this.#rest = cut < bytes.length ? Buffer.from(bytes.subarray(cut)) : undefined;
  }

  /** Returns the offset of an incomplete id, or else the end. */
  #scan(bytes: Buffer): number {
    let from = 0;
    for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, from)) {
      let id = 0;
      let digit = at + MARK.length;
      while (digit < bytes.length && bytes[digit] !== LINE_END) {
        id = id * 10 + (bytes[digit] ?? ZERO) - ZERO;
        digit += 1;
      }
      if (digit + KIND_OFFSET >= bytes.length) return at;
      if (bytes[digit + KIND_OFFSET] === LETTER_T) this.#record(id);
      from = digit + KIND_OFFSET;
    }
    // The mark itself may be incomplete.
    const last = bytes.lastIndexOf(LINE_END);
    return last >= from && last > bytes.length - MARK.length ? last : bytes.length;
  }

  #record(id: number): void {
    if (id <= this.newest) this.repeated += 1;
    this.count += 1;
    this.newest = Math.max(this.newest, id);
  }
}
