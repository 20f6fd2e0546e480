import type { Finding } from "@cairn/client";
import type { Logger } from "pino";
import type { NODE_FINDINGS } from "./findings.ts";

/** The code that causes these logs them at once, and says what the node does next. */
const LOGGED_ELSEWHERE: ReadonlySet<string> = new Set<keyof typeof NODE_FINDINGS>([
  "node-failed",
  "node-interrupted",
  "log-unreachable",
  "histories-differ",
  "own-index-failed",
  "file-unusable",
  "checkpoint-failing",
  "checkpoint-unverified",
  "checkpoint-skipped",
  "checkpoint-warning",
  "log-backup-damaged",
  "index-moved-aside",
]);

const LEVELS = { failing: "error", attention: "warn", notice: "info" } as const;

/** Returns a function that logs each finding once while it lasts, and when it is over. */
export function findingLog(logger: Logger): (findings: readonly Finding[]) => void {
  let known = new Map<string, Finding>();
  return (findings) => {
    const lasting = findings.filter(({ code }) => !LOGGED_ELSEWHERE.has(code));
    const now = new Map(lasting.map((one) => [kindOf(one), one]));
    for (const [kind, { code: finding, severity, error, hint, message }] of now) {
      const level = LEVELS[severity];
      if (!known.has(kind)) logger[level]({ finding, code: error ?? undefined, hint }, message);
    }
    for (const [kind, { code: finding, message }] of known) {
      if (!now.has(kind)) logger.info({ finding }, `This is over: ${message}`);
    }
    // The line at the end repeats the one at the beginning.
    known = new Map([...now].map(([kind, one]) => [kind, known.get(kind) ?? one]));
  };
}

/** A setting is recognized with its value, anything else without the numbers in its message. */
function kindOf({ code, error, message }: Finding): string {
  return `${code} ${error === "LOG_UNSAFE" ? message : error}`;
}
