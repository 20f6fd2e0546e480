/** Part of the index version, because every node must forget an id at the same transaction. */
export const REMEMBERED_TRANSACTIONS = 1_000_000;

/** The limits of requests and policies, and what holds for requests that name none. */
export const LIMITS = {
  /** How long a read or a write waits if it does not say (ms). */
  waitMs: 30_000,
  /** How long the status of a cluster waits for a node, by default and at most (ms). */
  defaultClusterWaitMs: 1_000,
  clusterWaitMs: 10_000,
  /** The number of items on a page, by default and at most. */
  defaultPageItems: 100,
  pageItems: 1_000,
  /** How long a query of an own index may run (ms), and the number and size (bytes of JSON) of the rows it may return. */
  queryMs: 5_000,
  queryRows: 10_000,
  queryBytes: 8 * 1024 * 1024,
  /** How deep the lists and maps of a document may nest: far deeper than real ones, far less than a stack allows. */
  jsonDepth: 500,
  /** The sizes of an idempotency id, and of the name of a director or drainer (bytes of UTF-8). */
  idBytes: 256,
  asBytes: 256,
  /** These bound what a policy can cost each node. */
  fields: 16,
  fieldBytes: 256,
  keep: 1_000_000_000,
  shards: 1_024,
  /** How many newest outcomes are kept: a repetition is answered with that of the original, up to 1,000,000 before it. */
  leastOutcomes: 2 * REMEMBERED_TRANSACTIONS,
} as const;
