import { numberSkipped } from "./skipped-checkpoints.ts";
import { DAMAGE_CODES } from "@cairn/checkpoint";
import type { ErrorCode } from "@cairn/kv";
import type { Logger } from "pino";
import type { NodeEventListener, Work, WorkEnded, WorkFailed } from "./node-event.ts";

export function eventLog(logger: Logger): NodeEventListener {
  return (event) => {
    // Most tasks begin periodically and find nothing to do, and the event that ends a task contains its result.
    if (event.stage === "begun") logger.debug({ run: event.run }, LINES[event.work][0]);
    else if (event.stage === "failed") logFailed(logger, event);
    else logEnded(logger, event);
  };
}

/**
 * How the beginning and failure of tasks are logged. A failed sweep follows a saved checkpoint; a failed restore is
 * also logged by the node, with its next step, and a failed backup, which is tried every few seconds, as a finding.
 */
const LINES = {
  checkpoint: ["looking at the checkpoint store", "checkpoint failed", "error"],
  restore: ["searching for a checkpoint to restore", "restoring failed", "debug"],
  sweep: ["sweeping old checkpoints", "sweeping old checkpoints failed", "warn"],
  verification: ["verifying a checkpoint", "verifying the checkpoint failed", "error"],
  scrub: [
    "comparing the tables of the index with their checksums",
    "comparing the tables of the index with their checksums failed",
    "error",
  ],
  backup: ["backing up the log", "backing up the log failed", "debug"],
  trim: ["checking whether the log can be trimmed", "trimming the log failed", "error"],
} as const satisfies Record<Work, readonly [begun: string, failed: string, level: keyof Logger]>;

function logFailed(logger: Logger, { work, run, durationMs: ms, bytes, error }: WorkFailed): void {
  const { code, hint, cause } = error;
  const level = levelOf(work, code);
  const unexpected = code === "INTERNAL" ? { err: cause } : {};
  logger[level]({ run, code, hint, ms, bytes, ...unexpected }, `${LINES[work][1]}: ${error.message}`);
}

function levelOf(work: Work, code: ErrorCode): "debug" | "info" | "warn" | "error" {
  if (code !== "NOT_READY") return LINES[work][2];
  // A scrub is always in progress, so a stopping node always aborts one.
  return work === "scrub" ? "debug" : "info";
}

function logEnded(logger: Logger, event: WorkEnded): void {
  const { run, durationMs: ms, bytes, outcome } = event;
  const fields = { run, outcome, ms, bytes };
  switch (event.work) {
    case "checkpoint": {
      if (event.outcome !== "saved") {
        logger.debug(fields, `no checkpoint: ${event.because}`);
        break;
      }
      const { name, txId } = event.checkpoint;
      logger.info({ name, txId, ...fields }, "checkpoint saved");
      break;
    }
    case "restore": {
      for (const { name, store, code, message, others } of event.skipped) {
        // Damage needs attention, whereas skipping other checkpoints is normal.
        const level = DAMAGE_CODES.has(code) ? "warn" : "info";
        logger[level]({ name, store, code, run }, `checkpoint skipped: ${message}`);
        if (others > 0)
          logger[level]({ store, code, run, others }, "more checkpoints skipped with this code");
      }
      const skipped = numberSkipped(event.skipped);
      if (event.outcome === "none") logger.debug({ skipped, ...fields }, "no checkpoint to restore");
      else logger.info({ name: event.name, txId: event.txId, skipped, ...fields }, "checkpoint restored");
      break;
    }
    case "sweep": {
      const { removed, failed } = event;
      logger[failed.length > 0 ? "warn" : "debug"]({ removed, failed, ...fields }, "old checkpoints swept");
      break;
    }
    case "verification": {
      const { name, digest } = event.verified;
      logger.info({ name, digest, ...fields }, "checkpoint verified");
      break;
    }
    case "scrub": {
      // While the index has no tables, the result is not worth logging.
      logger[bytes > 0 ? "info" : "debug"](fields, "the tables of the index are intact");
      break;
    }
    case "backup": {
      for (const segment of event.written) logger.debug({ run, ...segment }, "log segment written");
      for (const segment of event.merged) logger.debug({ run, ...segment }, "log segments merged");
      const { removed, covered } = event;
      logger.debug({ removed, covered, ...fields }, "log backed up");
      break;
    }
    case "trim": {
      const { first, upTo, because } = event;
      const level = event.outcome === "trimmed" ? "info" : "debug";
      logger[level]({ first, upTo, because, ...fields }, `log ${level === "info" ? "" : "not "}trimmed`);
      break;
    }
  }
}
