import type { CheckpointerEvent } from "@cairn/checkpoint";
import type { Logger } from "pino";
import { checkpointSummary } from "./checkpoint-summary.ts";
import type { EventDispatcher, WorkRun } from "../observe/event-dispatcher.ts";

/**
 * Returns a listener that reports a checkpointer's events as tasks of the node and logs the checkpointer's warnings.
 */
export function checkpointerListener(
  events: EventDispatcher,
  logger: Logger,
): (event: CheckpointerEvent) => void {
  let round: WorkRun<"checkpoint"> | undefined;
  let sweep: WorkRun<"sweep"> | undefined;
  return (event) => {
    switch (event.type) {
      case "begun":
        round = events.begin("checkpoint");
        break;
      case "taken": {
        const { name, manifest } = event.checkpoint;
        round?.moved(manifest.archive.bytes);
        round?.ended({ outcome: "saved", checkpoint: checkpointSummary({ ...manifest, name }) });
        break;
      }
      case "skipped":
        round?.ended({ outcome: event.reason, because: event.because });
        break;
      case "failed":
        round?.moved(event.bytes);
        round?.failed(event.error);
        break;
      case "sweep-begun":
        sweep = events.begin("sweep");
        break;
      case "swept": {
        const { removed, failed } = event;
        sweep?.moved(removed.reduce((sum, { bytes }) => sum + bytes, 0));
        const left = failed.map(({ name, error: { code, message } }) => ({ name, code, message }));
        sweep?.ended({ outcome: "swept", removed, failed: left });
        break;
      }
      case "sweep-failed":
        sweep?.failed(event.error);
        break;
      case "warning":
        logger.warn({ about: event.about, hint: event.hint }, event.message);
        break;
    }
  };
}
