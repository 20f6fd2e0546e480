import type { ClientStateChange, ClientStates, TxId } from "@cairn/client";
import type { Deployment, Lease, Machine, Pod, Seen } from "./resources.ts";

/** The key of the controllers' lease. */
export const LEASE_KEY = "default/controller";

/** The buckets of which a controller keeps a copy. */
export const BUCKETS = ["deployments", "pods", "nodes", "leases"] as const;

/** A copy of the four buckets in memory, by key. */
export class ClusterState {
  /** The transaction of which this is the state; undefined while only a part of the changes has arrived. */
  asOf: TxId | undefined;
  readonly deployments = new Map<string, Seen<Deployment>>();
  readonly pods = new Map<string, Seen<Pod>>();
  readonly nodes = new Map<string, Seen<Machine>>();
  readonly leases = new Map<string, Seen<Lease>>();

  get lease(): Seen<Lease> | undefined {
    return this.leases.get(LEASE_KEY);
  }

  /** Must be called with everything that `CairnClient.follow` yields, in the same order. */
  apply({ changes, complete, txId }: ClientStates): void {
    for (const change of changes) this.#change(change);
    this.asOf = complete ? txId : undefined;
  }

  #change(change: ClientStateChange): void {
    if (change.op === "clear") {
      // Only shards of queues are cleared by namespace, and none of these buckets is a queue.
      if (change.bucket === undefined) for (const bucket of BUCKETS) this[bucket].clear();
      return;
    }
    const bucket = BUCKETS.find((known) => known === change.bucket);
    if (bucket === undefined) return;
    const documents: Map<string, Seen<unknown>> = this[bucket];
    const key = `${change.namespace}/${change.name}`;
    // A document that is not an object counts as missing, so that one malformed document does not end every controller.
    // Fields of documents are not checked.
    if (change.op === "put" && typeof change.document === "object" && change.document !== null)
      documents.set(key, { revision: change.revision, document: change.document });
    else documents.delete(key);
  }
}
