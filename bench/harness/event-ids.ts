const MARK = Buffer.from("\nid: ");
const LINE_END = 0x0a;
const ZERO = 0x30;
/** What follows an id: a line's end, `event: ` and the first letter of `tx`. */
const TO_KIND = 8;
const OF_TRANSACTION = 0x74;

/**
 * The ids of the transactions in a stream of server-sent events, found without reading anything else of it: a thousand streams are
 * looked at by one process. A document's text cannot look like one, since it has no line breaks.
 */
export class EventIds {
  /** Those that came, and those not above the one before. */
  count = 0;
  repeated = 0;
  newest = 0;
  /** The beginning of an id that has not come whole. */
  #rest: Buffer | undefined;

  take(part: Buffer): void {
    const bytes = this.#rest === undefined ? part : Buffer.concat([this.#rest, part]);
    const cut = this.#scan(bytes);
    this.#rest = cut < bytes.length ? Buffer.from(bytes.subarray(cut)) : undefined;
  }

  /** Answers where an id begins that is not whole, else the end. */
  #scan(bytes: Buffer): number {
    let from = 0;
    for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, from)) {
      let id = 0;
      let digit = at + MARK.length;
      while (digit < bytes.length && bytes[digit] !== LINE_END) {
        id = id * 10 + (bytes[digit] ?? ZERO) - ZERO;
        digit += 1;
      }
      if (digit + TO_KIND >= bytes.length) return at;
      if (bytes[digit + TO_KIND] === OF_TRANSACTION) this.#note(id);
      from = digit + TO_KIND;
    }
    // The mark itself may be cut.
    const last = bytes.lastIndexOf(LINE_END);
    return last >= from && last > bytes.length - MARK.length ? last : bytes.length;
  }

  #note(id: number): void {
    if (id <= this.newest) this.repeated += 1;
    this.count += 1;
    this.newest = Math.max(this.newest, id);
  }
}
