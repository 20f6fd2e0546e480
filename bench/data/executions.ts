import { join } from "node:path";

const STATES = ["queued", "running", "completed", "failed"];
const NODES = 50;

/**
 * What fills the 200 characters: ASCII, like nearly all JSON, or text in which every second character has two bytes.
 */
export const FILLINGS = { ascii: ". ", twoBytes: "·-" };

/** Returns an execution as a compute network stores it: a state, a node, and a log of 200 characters. */
export function execution(index: number, filling = FILLINGS.ascii): { key: string; document: object } {
  return {
    key: `default/e-${String(index).padStart(12, "0")}`,
    document: {
      state: STATES[index % STATES.length] ?? "",
      node: `node-${index % NODES}`,
      job: `job-${index >> 4}`,
      log: String(index).padStart(200, filling),
    },
  };
}

/** The fields that the rows index. */
export const INDEXED_FIELDS = { indexes: { executions: ["state", "node"] } };

/**
 * Configures a node without HTTP in one folder, with an embedded log or with a log that has a replica on each of
 * `servers`.
 */
export function executionsConfig(dir: string, servers?: readonly string[]): object {
  const embedded = { "cairn/module": "cairn.embedded/->tx-log", path: join(dir, "log") };
  const replicated = { "cairn/module": "cairn.nats/->tx-log", servers, replicas: servers?.length };
  return {
    "cairn/node": { id: "bench", dir },
    "cairn/tx-log": servers === undefined ? embedded : replicated,
    "cairn/index-store": {
      "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", "db-dir": join(dir, "index") },
    },
    "cairn/http-server": null,
  };
}
