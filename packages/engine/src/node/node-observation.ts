import type { Logger } from "pino";
import { eventLog } from "../observe/event-log.ts";
import { LastResults } from "../observe/last-results.ts";
import type { NodeEventListener } from "../observe/node-event.ts";
import { EventDispatcher } from "../observe/event-dispatcher.ts";
import { RefusedSubmissions } from "../observe/refused-submissions.ts";
import type { NodeMetrics } from "./node-metrics.ts";

/** Connects a node's events with the log, the metrics, the status and the embedding program. */
export class NodeObservation {
  readonly events: EventDispatcher;
  readonly metrics: NodeMetrics;
  readonly lastResults = new LastResults();
  readonly refusals: RefusedSubmissions;

  constructor(metrics: NodeMetrics, logger: Logger, onEvent?: NodeEventListener) {
    this.events = new EventDispatcher((error) =>
      logger.warn({ err: error }, "a listener for the node's events failed; the node is not affected"),
    );
    this.metrics = metrics;
    this.refusals = new RefusedSubmissions();
    this.events.listen(eventLog(logger));
    this.events.listen(this.metrics.onEvent);
    this.events.listen((event) => this.lastResults.note(event));
    // This listener is added last, so that the status and the metrics already reflect an event when the embedding
    // program receives it.
    if (onEvent !== undefined) this.events.listen(onEvent);
  }
}
