import type { Logger } from "pino";
import { eventLog } from "../observe/event-log.ts";
import { LastWorks } from "../observe/last-works.ts";
import type { NodeEventListener } from "../observe/node-event.ts";
import { NodeEvents } from "../observe/node-events.ts";
import { RefusedSubmissions } from "../observe/refused-submissions.ts";
import { type MeasuredSystem, NodeMetrics } from "../metrics/node-metrics.ts";

/** What a node tells of its work, and where it goes: the log, the metrics, the status, and whoever embeds the node. */
export class NodeObservation {
  readonly events: NodeEvents;
  readonly metrics: NodeMetrics;
  readonly lastWorks = new LastWorks();
  readonly refusals: RefusedSubmissions;

  constructor(system: MeasuredSystem, logger: Logger, onEvent?: NodeEventListener) {
    this.events = new NodeEvents((error) =>
      logger.warn({ err: error }, "an observer of the node's events failed; it harms nothing else"),
    );
    this.metrics = new NodeMetrics(system, (source, error) =>
      logger.warn({ source, err: error }, "a scrape of /metrics goes on without a part"),
    );
    this.refusals = new RefusedSubmissions(logger);
    this.events.listen(eventLog(logger));
    this.events.listen(this.metrics.onEvent);
    this.events.listen((event) => this.lastWorks.note(event));
    // Last, so that whoever embeds the node finds in its status and metrics what it is told.
    if (onEvent !== undefined) this.events.listen(onEvent);
  }
}
