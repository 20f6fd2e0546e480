import type { SimulatedFile, VirtualTime } from "@cairn/checkpoint/testing";
import { parseSegmentName } from "../../../src/backup/segments/segment-name.ts";
import type { Appended, SimulatedLog } from "./simulated-log.ts";
import { faultOf, promisedMessages } from "./written-segment.ts";

/** A segment in the store. */
interface Stored {
  readonly messages: readonly Appended[];
  readonly modifiedAt: number;
}

/** Returns why the last copy of a message may not be removed with a segment; undefined if it may be. */
export type JudgeRemoval = (
  message: Appended,
  segment: { readonly modifiedAt: number },
) => string | undefined;

/**
 * Watches a store. Each segment must hold, byte for byte, the messages that its name promises, and each message that
 * was ever in an intact segment must remain in one until its removal is allowed.
 */
export class Coverage {
  readonly violations: string[] = [];
  /** The longest time from a message's append to its first segment (ms). */
  longest = 0;
  written = { segments: 0, bytes: 0 };
  merged = { segments: 0, bytes: 0 };
  readonly #time: VirtualTime;
  readonly #log: SimulatedLog;
  readonly #mayGo: JudgeRemoval;
  /** The number of intact segments with a message. */
  readonly #copies = new Map<Appended, number>();
  /** The intact segments in the store, by name. */
  readonly #stored = new Map<string, Stored>();
  /**
   * The messages whose last copy was removed when that was allowed. A suspended writer may write them again, and a
   * suspended node may then remove what it has listed under the same name.
   */
  readonly #gone = new Set<Appended>();
  /** When each segment was first written: a node may remove by name what it listed before it was written again. */
  readonly #writtenAt = new Map<string, number>();
  /** The names of all segments that ever began, or ended, at a position. */
  readonly #begun = new Map<number, Set<string>>();
  readonly #ended = new Map<number, Set<string>>();
  #end = 0;

  constructor(time: VirtualTime, log: SimulatedLog, mayGo: JudgeRemoval) {
    this.#time = time;
    this.#log = log;
    this.#mayGo = mayGo;
  }

  /** The position up to which everything was covered. */
  get end(): number {
    while (this.#holds(this.#end + 1)) this.#end += 1;
    return this.#end;
  }

  /** Must be called when the log has lost its end. */
  onLost(): void {
    this.#end = Math.min(this.#end, this.#log.bounds().last);
  }

  /** Returns whether a segment ever ended at a position. */
  everEndedAt(position: number): boolean {
    return this.#ended.has(position);
  }

  /** Returns the positions of a range whose messages, as the log holds them now, no intact segment holds. */
  missing(first: number, last: number): number[] {
    const found: number[] = [];
    for (let position = first; position <= last; position += 1)
      if (!this.#holds(position)) found.push(position);
    return found;
  }

  /**
   * Must be called with each stored file. `isDamaged` decides whether it is damaged afterwards, given whether it holds
   * new messages. Returns its result; false for a file that is not a segment.
   */
  onWritten(
    name: string,
    { content, modifiedAt }: SimulatedFile,
    isDamaged: (isNew: boolean) => boolean,
  ): boolean {
    const parsed = parseSegmentName(name);
    if (parsed === undefined) return false;
    noteName(this.#begun, parsed.first, name);
    noteName(this.#ended, parsed.last, name);
    const messages = promisedMessages(parsed, this.#log);
    const fault =
      messages === undefined ? "its messages never followed each other" : faultOf(content, messages);
    if (fault !== undefined) this.violations.push(`${name}: ${fault}`);
    if (fault !== undefined || messages === undefined) return false;
    const writtenAt = this.#writtenAt.get(name) ?? modifiedAt;
    this.#writtenAt.set(name, writtenAt);
    const isNew = messages.some((message) => !this.#copies.has(message));
    if (isDamaged(isNew)) return true;
    for (const message of messages) {
      const count = this.#copies.get(message);
      if (count === undefined) this.longest = Math.max(this.longest, this.#time.now() - message.time);
      this.#copies.set(message, (count ?? 0) + 1);
    }
    this.#stored.set(name, { messages, modifiedAt: writtenAt });
    const figures = isNew ? this.written : this.merged;
    figures.segments += 1;
    figures.bytes += content.length;
    return false;
  }

  /**
   * Must be called with each merged segment. Records a violation unless it begins and ends where other segments did.
   */
  onMerged({
    name,
    first,
    last,
  }: {
    readonly name: string;
    readonly first: number;
    readonly last: number;
  }): void {
    if (![this.#begun.get(first), this.#ended.get(last)].every((names) => (names?.size ?? 0) > 1))
      this.violations.push(`${name} was merged, but does not begin and end where other segments do`);
  }

  onRemoved(name: string): void {
    const segment = this.#stored.get(name);
    this.#stored.delete(name);
    for (const message of segment?.messages ?? []) {
      const count = (this.#copies.get(message) ?? 0) - 1;
      this.#copies.set(message, count);
      if (count > 0 || segment === undefined || this.#gone.has(message)) continue;
      const why = this.#mayGo(message, segment);
      if (why === undefined) this.#gone.add(message);
      else this.violations.push(`position ${message.position} went with ${name}, ${why}`);
    }
  }

  #holds(position: number): boolean {
    const message = this.#log.at(position);
    return message !== undefined && (this.#copies.get(message) ?? 0) > 0;
  }
}

function noteName(names: Map<number, Set<string>>, position: number, name: string): void {
  const known = names.get(position);
  if (known === undefined) names.set(position, new Set([name]));
  else known.add(name);
}
