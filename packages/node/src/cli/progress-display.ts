import cliProgress from "cli-progress";
import { formatBytes, formatDuration } from "./quantities.ts";
import type { Output } from "./terminal.ts";

/** Shows how far long work is: a bar on a terminal, a line every few seconds otherwise. */
export interface ProgressDisplay {
  /** `done` bytes; `note` says it in the work's own units. */
  update(done: number, note: string): void;
  /** Takes the bar away; what follows is written below. */
  stop(): void;
}

const LINE_EVERY_MS = 5000;

/** Progress on `output` of `total` bytes (undefined: nobody knows how many). */
export function showProgress(
  output: Output,
  verb: string,
  total: number | undefined,
  now: () => number = Date.now,
): ProgressDisplay {
  return output.isTTY === true && total !== undefined && total > 0
    ? showBar(output, verb, total)
    : showLines(output, verb, total, now);
}

function showBar(output: Output, verb: string, total: number): ProgressDisplay {
  const bar = new cliProgress.SingleBar({
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
      bar.update(done, { note, rate: rateText(done, Date.now() - begun) });
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
): ProgressDisplay {
  const begun = now();
  let last = begun;
  return {
    update(done, note) {
      const at = now();
      if (at - last < LINE_EVERY_MS) return;
      last = at;
      output.write(`${verb} ${progressLine(done, total, at - begun)}, ${note}\n`);
    },
    stop() {
      // Lines stay where they are.
    },
  };
}

function progressLine(done: number, total: number | undefined, elapsedMs: number): string {
  const rate = rateText(done, elapsedMs);
  if (total === undefined || total === 0) return `${formatBytes(done)} at ${rate}`;
  const left = done === 0 ? "" : `, about ${formatDuration((elapsedMs * (total - done)) / done)} left`;
  const percent = Math.floor((100 * done) / total);
  return `${formatBytes(done)} of ${formatBytes(total)} (${percent} %) at ${rate}${left}`;
}

function rateText(done: number, elapsedMs: number): string {
  return `${formatBytes(elapsedMs === 0 ? 0 : (1000 * done) / elapsedMs)}/s`;
}
