import type { CheckpointerEvent } from "@cairn/checkpoint";
import { errorMessage, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";

/** Tells a checkpointer's events as log lines that a person can read. */
export function checkpointEventLog(logger: Logger): (event: CheckpointerEvent) => void {
  return (event) => {
    switch (event.type) {
      case "begun":
        logger.debug({ forced: event.forced }, "checkpoint: looking at the store");
        break;
      case "taken": {
        const { name, manifest } = event.checkpoint;
        const { txId, archive } = manifest;
        logger.info(
          { name, txId, bytes: archive.bytes, ms: Math.round(event.durationMs) },
          "checkpoint saved",
        );
        break;
      }
      case "skipped":
        logger.debug({ reason: event.reason }, `no checkpoint: ${event.because}`);
        break;
      case "failed":
        logger.error({ ...told(event.error) }, `checkpoint failed: ${errorMessage(event.error)}`);
        break;
      case "swept": {
        const { type: _, ...report } = event;
        logger.debug(report, "old checkpoints swept");
        break;
      }
      case "warning":
        logger.warn({ about: event.about, hint: event.hint }, event.message);
        break;
      case "sweep-failed":
        logger.warn(
          { ...told(event.error) },
          `sweeping old checkpoints failed: ${errorMessage(event.error)}`,
        );
        break;
    }
  };
}

function told(error: unknown): Record<string, unknown> {
  return isCairnError(error) ? { code: error.code, hint: error.hint } : { err: error };
}
