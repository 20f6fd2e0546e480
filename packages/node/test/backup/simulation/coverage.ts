import type { SimulatedFile, VirtualTime } from "@cairn/checkpoint/testing";
import { parseSegmentName } from "../../../src/backup/segments/segment-name.ts";

/** After each request, compares the store's listing with everything that it ever listed. */
export class Coverage {
  /** The violations: positions that were covered and no longer are. */
  readonly violations: string[] = [];
  /** The longest time from a message's append to its first segment (ms). */
  longest = 0;
  written = { segments: 0, bytes: 0 };
  merged = { segments: 0, bytes: 0 };
  readonly #time: VirtualTime;
  readonly #appendedAt: (position: number) => number;
  /** For each position, the number of segments with it. */
  readonly #counts: number[] = [0];
  #end = 0;

  constructor(time: VirtualTime, appendedAt: (position: number) => number) {
    this.#time = time;
    this.#appendedAt = appendedAt;
  }

  /** The position up to which everything is covered. */
  get end(): number {
    return this.#end;
  }

  onWritten(name: string, { content }: SimulatedFile): void {
    const segment = parseSegmentName(name);
    if (segment === undefined) return;
    const { first, last } = segment;
    let isNew = false;
    for (let position = first; position <= last; position += 1) {
      const count = this.#counts[position] ?? 0;
      if (count === 0) {
        isNew = true;
        this.longest = Math.max(this.longest, this.#time.now() - this.#appendedAt(position));
      }
      this.#counts[position] = count + 1;
    }
    while ((this.#counts[this.#end + 1] ?? 0) > 0) this.#end += 1;
    const figures = isNew ? this.written : this.merged;
    figures.segments += 1;
    figures.bytes += content.length;
  }

  onRemoved(name: string): void {
    const segment = parseSegmentName(name);
    if (segment === undefined) return;
    for (let position = segment.first; position <= segment.last; position += 1) {
      const count = (this.#counts[position] ?? 0) - 1;
      this.#counts[position] = count;
      if (count <= 0) this.violations.push(`position ${position} went with ${name}`);
    }
  }
}
