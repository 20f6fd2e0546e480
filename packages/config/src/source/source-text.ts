import type { Origin, SourceKind } from "./config-tree.ts";

/** A configuration has a few pages, but a wrong file passed with -f may contain gigabytes. */
export const MAX_SOURCE_BYTES = 1024 * 1024;

/** The maximum nesting depth. The limit protects the stack from overflow. Real configurations have about six levels. */
export const MAX_DEPTH = 64;

export class SourceText {
  readonly kind: SourceKind;
  readonly label: string;
  /** The text without the byte order mark that some editors write. */
  readonly text: string;
  readonly #lineStarts: readonly number[];

  constructor(kind: SourceKind, label: string, text: string) {
    this.kind = kind;
    this.label = label;
    this.text = text.startsWith("\uFEFF") ? text.slice(1) : text;
    const starts = [0];
    for (let at = this.text.indexOf("\n"); at !== -1; at = this.text.indexOf("\n", at + 1))
      starts.push(at + 1);
    this.#lineStarts = starts;
  }

  originAt(offset: number): Origin {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    const column = offset - (this.#lineStarts[low] ?? 0) + 1;
    return { kind: this.kind, label: this.label, line: low + 1, column };
  }
}
