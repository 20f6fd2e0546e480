import { type CairnError, TimeSlice } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LogMessage, LogReadOptions } from "../../log/tx-log.ts";

const NEWLINE = 0x0a;
const SPACE = 0x20;
const ZERO = 0x30;
/** The number of digits below a millisecond in a timestamp in nanoseconds. */
const NANOSECOND_DIGITS = 6;
const MAX_MESSAGE_LINE_BYTES = 64;
/** The number of messages after which parsing may yield to the event loop. */
const MESSAGES_PER_CHECK = 256;
const DEFAULT_MESSAGES = 1_000;
const DEFAULT_BYTES = 256 * 1024;

export async function writeMessages(messages: readonly LogMessage[]): Promise<Buffer> {
  const slice = new TimeSlice();
  let length = 0;
  for (const { payload } of messages) length += MAX_MESSAGE_LINE_BYTES + payload.length + 1;
  const plain = Buffer.allocUnsafe(length);
  let at = 0;
  for (const [index, { position, time, nanoseconds = 0, payload }] of messages.entries()) {
    const below = String(nanoseconds).padStart(NANOSECOND_DIGITS, "0");
    at += plain.write(`${position} ${time}${below} ${payload.length}\n`, at, "latin1");
    plain.set(payload, at);
    at += payload.length;
    plain[at] = NEWLINE;
    at += 1;
    if (index % MESSAGES_PER_CHECK === 0) await slice.yieldIfOver();
  }
  return plain.subarray(0, at);
}

/**
 * A segment's messages, each parsed on request, as objects for all would take more memory than the segment. Payloads
 * are views into it.
 */
export class SegmentMessages implements Iterable<LogMessage> {
  readonly #plain: Buffer;
  readonly #first: TxId;
  /** The byte offsets of the lines that precede the messages. */
  readonly #lines: Uint32Array;

  constructor(plain: Buffer, first: TxId, lines: Uint32Array) {
    this.#plain = plain;
    this.#first = first;
    this.#lines = lines;
  }

  get length(): number {
    return this.#lines.length;
  }

  /** Returns the message of a transaction; undefined if the segment does not hold it. */
  get(txId: TxId): LogMessage | undefined {
    const from = this.#lines[txId - this.#first];
    if (from === undefined) return undefined;
    const lineEnd = this.#plain.indexOf(NEWLINE, from);
    const numbers = parseNumbers(this.#plain, from, lineEnd);
    if (numbers === undefined) throw new Error("the lines of a segment were checked when it was parsed");
    const { position, time, nanoseconds, length } = numbers;
    return { position, time, nanoseconds, payload: this.#plain.subarray(lineEnd + 1, lineEnd + 1 + length) };
  }

  /** Returns the message of a transaction as {@link get} does, but with a separate copy of its payload. */
  copy(txId: TxId): LogMessage | undefined {
    const message = this.get(txId);
    return message === undefined ? undefined : { ...message, payload: Buffer.from(message.payload) };
  }

  /** Yields copies of the messages from a transaction on, in batches within the bounds in `options`. */
  *copies(txId: TxId, options: LogReadOptions): Generator<readonly LogMessage[], void, void> {
    const { maxMessages = DEFAULT_MESSAGES, maxBytes = DEFAULT_BYTES } = options;
    let batch: LogMessage[] = [];
    let bytes = 0;
    for (let next = txId; next < this.#first + this.length; next += 1) {
      const message = this.copy(next);
      if (message === undefined) return;
      const { length } = message.payload;
      if (batch.length >= maxMessages || (batch.length > 0 && bytes + length > maxBytes)) {
        yield batch;
        batch = [];
        bytes = 0;
      }
      batch.push(message);
      bytes += length;
    }
    if (batch.length > 0) yield batch;
  }

  *from(txId: TxId): Generator<LogMessage, void, void> {
    for (let next = txId; next < this.#first + this.length; next += 1) {
      const message = this.get(next);
      if (message !== undefined) yield message;
    }
  }

  [Symbol.iterator](): Iterator<LogMessage> {
    return this.from(this.#first);
  }
}

/**
 * Parses transactions `first` to `last`; a position is the transaction id minus `offset`. `corrupt` makes the error for
 * damaged messages.
 */
export async function parseMessages(
  plain: Buffer,
  { first, last, log: { offset } }: { first: TxId; last: TxId; log: { offset: number } },
  corrupt: (why: string) => CairnError,
): Promise<SegmentMessages> {
  const slice = new TimeSlice();
  const lines = new Uint32Array(last - first + 1);
  let at = 0;
  for (let txId: TxId = first; txId <= last; txId += 1) {
    const lineEnd = plain.indexOf(NEWLINE, at);
    const numbers =
      lineEnd < 0 || lineEnd - at > MAX_MESSAGE_LINE_BYTES ? undefined : parseNumbers(plain, at, lineEnd);
    if (numbers === undefined || numbers.position !== txId - offset)
      throw corrupt(`the message of transaction ${txId} is missing or out of order`);
    lines[txId - first] = at;
    at = lineEnd + 2 + numbers.length;
    if (plain[at - 1] !== NEWLINE) throw corrupt(`the message of transaction ${txId} is truncated`);
    if (txId % MESSAGES_PER_CHECK === 0) await slice.yieldIfOver();
  }
  if (at !== plain.length) throw corrupt(`it continues after transaction ${last}`);
  return new SegmentMessages(plain, first, lines);
}

/** For speed, it works byte by byte: a replay parses millions of these lines. */
function parseNumbers(
  plain: Buffer,
  from: number,
  to: number,
): (Required<Omit<LogMessage, "payload">> & { readonly length: number }) | undefined {
  const timeAt = plain.indexOf(SPACE, from) + 1;
  const lengthAt = plain.indexOf(SPACE, timeAt) + 1;
  if (timeAt === 0 || lengthAt === 0 || lengthAt > to) return undefined;
  const nanosecondsAt = lengthAt - 1 - NANOSECOND_DIGITS;
  const position = parseDigits(plain, from, timeAt - 1);
  const time = parseDigits(plain, timeAt, nanosecondsAt);
  const nanoseconds = parseDigits(plain, nanosecondsAt, lengthAt - 1);
  const length = parseDigits(plain, lengthAt, to);
  const isValid = position >= 0 && time >= 0 && nanoseconds >= 0 && length >= 0;
  return isValid ? { position, time, nanoseconds, length } : undefined;
}

/** Parses decimal digits. Returns -1 if there are none, or if there are other characters. */
function parseDigits(bytes: Buffer, from: number, to: number): number {
  if (from >= to) return -1;
  let value = 0;
  for (let at = from; at < to; at += 1) {
    const digit = (bytes[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return Number.isSafeInteger(value) ? value : -1;
}
