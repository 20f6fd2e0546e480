import type { NodeStatus } from "@cairn/node";

/** Codes that a node must not report because of another version's activity. */
const FALSE_ALARM_CODES = new Set([
  "LOG_DIFFERENT",
  "LOG_REGRESSED",
  "LOG_GAP",
  "INDEX_CORRUPT",
  "CHECKPOINT_CORRUPT",
  "CHECKPOINT_INCOMPLETE",
  "REQUEST_INVALID",
  "TX_INVALID",
  "INTERNAL",
]);
const ALARM_LEVELS = new Set(["warn", "error", "fatal"]);

/** A line of a node's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly code?: string;
  readonly hint?: string;
  readonly removed?: readonly { readonly name: string; readonly reason: string }[];
}

/** Parses a line of a node's output. Returns undefined if it is not a line of the log. */
export function readLogLine(line: string): LogLine | undefined {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}

/**
 * Returns whether a line of a node's log is an alarm without a cause. `expected` contains the codes that this round
 * causes.
 */
export function isFalseAlarm({ level, code, msg }: LogLine, expected: ReadonlySet<string>): boolean {
  if (code === undefined) {
    return (
      level === "fatal" ||
      (ALARM_LEVELS.has(level) && /another (?:past|history)|damaged|not a message/.test(msg))
    );
  }
  if (expected.has(code)) return false;
  return FALSE_ALARM_CODES.has(code) || level === "error" || level === "fatal";
}

/**
 * Returns the problems in /status that a sound cluster of two versions must not report. `expected` has the same meaning
 * as for {@link isFalseAlarm}.
 */
export function falseAlarms({ index, failure, join }: NodeStatus, expected: ReadonlySet<string>): string[] {
  const found: string[] = [];
  if (index.divergence !== null)
    found.push(`divergence ${index.divergence.code}: ${index.divergence.message}`);
  if (index.warning !== undefined) found.push(`warning ${index.warning.code}: ${index.warning.message}`);
  if (failure !== null && !expected.has(failure.code))
    found.push(`failed: ${failure.code}: ${failure.message}`);
  for (const { code, message } of join.movedAside) {
    if (code !== "INDEX_VERSION" && !expected.has(code))
      found.push(`moved its index aside: ${code}: ${message}`);
  }
  for (const { name, code, message } of join.skipped) {
    if (code !== "INDEX_VERSION" && !expected.has(code)) found.push(`skipped ${name}: ${code}: ${message}`);
  }
  return found;
}
