import type { Logger } from "pino";
import { eventLog } from "../observe/event-log.ts";
import { LastResults } from "../observe/last-results.ts";
import type { NodeEventListener } from "../observe/node-event.ts";
import { EventDispatcher } from "../observe/event-dispatcher.ts";
import { RefusedSubmissions } from "../observe/refused-submissions.ts";
import { type MeasuredSystem, NodeMetrics } from "../metrics/node-metrics.ts";

/** What a node tells of its work, and where it goes: the log, the metrics, the status, and whoever embeds the node. */
export class NodeObservation {
  readonly events: EventDispatcher;
  readonly metrics: NodeMetrics;
  readonly lastResults = new LastResults();
  readonly refusals: RefusedSubmissions;

  constructor(system: MeasuredSystem, logger: Logger, onEvent?: NodeEventListener) {
    this.events = new EventDispatcher((error) =>
      logger.warn({ err: error }, "an observer of the node's events failed; it harms nothing else"),
    );
    this.metrics = new NodeMetrics(system, (source, error) =>
      logger.warn({ source, err: error }, "a scrape of /metrics goes on without a part"),
    );
    this.refusals = new RefusedSubmissions(logger);
    this.events.listen(eventLog(logger));
    this.events.listen(this.metrics.onEvent);
    this.events.listen((event) => this.lastResults.note(event));
    // Last, so that whoever embeds the node finds in its status and metrics what it is told.
    if (onEvent !== undefined) this.events.listen(onEvent);
  }
}
