import { formatBytes, formatDuration } from "@cairn/text";
import { shorten } from "./columns.ts";
import type { Output } from "./terminal.ts";

/** One line, rewritten in place, if the output is a terminal and the total is known; otherwise a new line every few seconds. */
export interface ProgressDisplay {
  /** Shows the progress; `note` is printed after the amounts. */
  update(done: number, note: string): void;
  stop(): void;
}

const LINE_EVERY_MS = 5000;
const REWRITTEN_EVERY_MS = 125;
/** Erases the line of a terminal. */
const ERASE = "\r\u001B[K";

export type FormatAmount = (amount: number) => string;

/** `total` is undefined if unknown. Amounts are in bytes unless `format` writes another unit. */
export function showProgress(
  output: Output,
  verb: string,
  total: number | undefined,
  now: () => number = Date.now,
  format: FormatAmount = formatBytes,
): ProgressDisplay {
  const isRewritten = output.isTTY === true && total !== undefined && total > 0;
  const begun = now();
  let nextAt = isRewritten ? begun : begun + LINE_EVERY_MS;
  let isShown = false;
  return {
    update(done, note) {
      const at = now();
      if (at < nextAt) return;
      nextAt = at + (isRewritten ? REWRITTEN_EVERY_MS : LINE_EVERY_MS);
      const rate = `${format(at === begun ? 0 : (1000 * done) / (at - begun))}/s`;
      // More than was expected may come while the work is done.
      const isSized = total !== undefined && total > 0 && done <= total;
      const left = isSized && done > 0 ? formatDuration(((at - begun) * (total - done)) / done) : undefined;
      const of = isSized ? ` of ${format(total)} (${Math.floor((100 * done) / total)} %)` : "";
      const end = left === undefined ? "" : `, about ${left} left`;
      const line = `${verb} ${format(done)}${of} at ${rate}${end}, ${note}`;
      output.write(isRewritten ? ERASE + shorten(line, (output.columns || 80) - 1) : `${line}\n`);
      isShown = isRewritten;
    },
    stop() {
      if (isShown) output.write(ERASE);
      isShown = false;
    },
  };
}
