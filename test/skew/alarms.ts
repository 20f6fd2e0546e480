import type { NodeStatus } from "@cairn/node";

/** What nodes of two versions must not take one another's work for. */
const FALSE = new Set([
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
const LOUD = new Set(["warn", "error", "fatal"]);

/** A line of a node's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly code?: string;
  readonly hint?: string;
  readonly removed?: readonly { readonly name: string; readonly reason: string }[];
}

/** Undefined: the line is not of the log. */
export function readLogLine(line: string): LogLine | undefined {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}

/** Whether a line of a node's log is an alarm for which there is no cause. `expected` are codes that this round gives cause for. */
export function isFalseAlarm({ level, code, msg }: LogLine, expected: ReadonlySet<string>): boolean {
  if (code === undefined) {
    return (
      level === "fatal" || (LOUD.has(level) && /another (?:past|history)|damaged|not a message/.test(msg))
    );
  }
  if (expected.has(code)) return false;
  return FALSE.has(code) || level === "error" || level === "fatal";
}

/** What /status says that no node of a sound cluster of two versions may say. `expected` as for {@link isFalseAlarm}. */
export function falseAlarms({ index, failure, join }: NodeStatus, expected: ReadonlySet<string>): string[] {
  const found: string[] = [];
  // A version that knows no divergence does not name it.
  if (index.divergence != null)
    found.push(`divergence ${index.divergence.code}: ${index.divergence.message}`);
  if (index.warning !== undefined) found.push(`warning ${index.warning.code}: ${index.warning.message}`);
  if (failure !== null && !expected.has(failure.code))
    found.push(`failed: ${failure.code}: ${failure.message}`);
  for (const { code, message } of join.movedAside) {
    if (code !== "INDEX_VERSION" && !expected.has(code))
      found.push(`moved its index aside: ${code}: ${message}`);
  }
  for (const { name, code, message } of join.skipped) {
    if (code !== "INDEX_VERSION" && !expected.has(code))
      found.push(`passed over ${name}: ${code}: ${message}`);
  }
  return found;
}
