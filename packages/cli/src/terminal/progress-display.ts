import { createRequire } from "node:module";
import type cliProgress from "cli-progress";
import { formatBytes, formatDuration } from "@cairn/text";
import type { Output } from "./terminal.ts";

/** A bar if the output is a terminal and the total is known, and otherwise a line every few seconds. */
export interface ProgressDisplay {
  /** Shows the progress; `note` is printed after the amounts. */
  update(done: number, note: string): void;
  stop(): void;
}

const LINE_EVERY_MS = 5000;

export type FormatAmount = (amount: number) => string;

/** `total` is undefined if unknown. Amounts are in bytes unless `format` writes another unit. */
export function showProgress(
  output: Output,
  verb: string,
  total: number | undefined,
  now: () => number = Date.now,
  format: FormatAmount = formatBytes,
): ProgressDisplay {
  return output.isTTY === true && total !== undefined && total > 0
    ? showBar(output, verb, total, format)
    : showLines(output, verb, total, now, format);
}

function showBar(output: Output, verb: string, total: number, format: FormatAmount): ProgressDisplay {
  // Most commands show no bar, and its twenty files take 15 ms to load.
  const { SingleBar } = createRequire(import.meta.url)("cli-progress") as typeof cliProgress;
  const bar = new SingleBar({
    stream: output,
    format: `${verb} {bar} {percentage} % | {note} | {rate} | ETA {eta_formatted}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    hideCursor: true,
    clearOnComplete: true,
    fps: 8,
    etaBuffer: 50,
  });
  const begun = Date.now();
  bar.start(total, 0, { note: "", rate: "" });
  return {
    update(done, note) {
      if (done > total) bar.setTotal(done);
      bar.update(done, { note, rate: rateText(done, Date.now() - begun, format) });
    },
    stop() {
      bar.stop();
    },
  };
}

function showLines(
  output: Output,
  verb: string,
  total: number | undefined,
  now: () => number,
  format: FormatAmount,
): ProgressDisplay {
  const begun = now();
  let last = begun;
  return {
    update(done, note) {
      const at = now();
      if (at - last < LINE_EVERY_MS) return;
      last = at;
      const rate = rateText(done, at - begun, format);
      // More than was expected may come while the work is done.
      const isSized = total !== undefined && total > 0 && done <= total;
      const left = isSized && done > 0 ? formatDuration(((at - begun) * (total - done)) / done) : undefined;
      const of = isSized ? ` of ${format(total)} (${Math.floor((100 * done) / total)} %)` : "";
      const end = left === undefined ? "" : `, about ${left} left`;
      output.write(`${verb} ${format(done)}${of} at ${rate}${end}, ${note}\n`);
    },
    stop() {
      // There is no bar to remove, and the lines stay.
    },
  };
}

function rateText(done: number, elapsedMs: number, format: FormatAmount): string {
  return `${format(elapsedMs === 0 ? 0 : (1000 * done) / elapsedMs)}/s`;
}
