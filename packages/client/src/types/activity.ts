/**
 * Something that happened on a node: an item of GET /status/activity. It corresponds to a line of the node's log, or to
 * several equal ones in succession.
 */
export interface Activity {
  /** Increases with each item, and is unique until the node restarts. */
  readonly id: number;
  /** The time of the last occurrence, by the node's clock (ISO 8601). */
  readonly at: string;
  readonly level: "info" | "warn" | "error";
  readonly message: string;
  /** The code and the hint of an error. */
  readonly code: string | null;
  readonly hint: string | null;
  /** The duration of the task that ended, and the number of bytes that it moved. */
  readonly durationMs: number | null;
  readonly bytes: number | null;
  /** The number of occurrences in succession. */
  readonly times: number;
}
