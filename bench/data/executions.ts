import { join } from "node:path";

const STATES = ["queued", "running", "completed", "failed"];
const NODES = 50;

/** What the 200 characters are made of: as nearly all JSON is, and with as many characters of two bytes as of one. */
export const FILLINGS = { ascii: ". ", twoBytes: "·-" };

/** The execution of a number, as a compute network has them: a state, a node, and 200 characters that nobody asks about. */
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

/** A node without HTTP, all in one folder, with an embedded log or one with a replica on each of `servers`. */
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
