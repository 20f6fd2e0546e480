import type { Followed, Listed } from "./follow.ts";
import type { Deployment, Lease, Machine, Pod, Seen } from "./resources.ts";

/** The key of the controllers' lease. */
export const LEASE_KEY = "default/controller";

/** The buckets that a controller follows. */
export const BUCKETS = ["deployments", "pods", "nodes", "leases"] as const;

/** A copy of the four buckets in memory, by key. */
export class ClusterState {
  /** The last transaction that was applied. */
  txId = 0;
  readonly deployments = new Map<string, Seen<Deployment>>();
  readonly pods = new Map<string, Seen<Pod>>();
  readonly nodes = new Map<string, Seen<Machine>>();
  readonly leases = new Map<string, Seen<Lease>>();

  get lease(): Seen<Lease> | undefined {
    return this.leases.get(LEASE_KEY);
  }

  apply(followed: Followed): void {
    if (followed.kind === "snapshot") {
      for (const bucket of BUCKETS) this[bucket].clear();
      for (const listed of followed.documents) this.#put(listed);
      this.txId = followed.txId;
      return;
    }
    const { txId, changes } = followed.transaction;
    for (const { op, document, ...change } of changes) {
      if (op === "put") this.#put({ ...change, document });
      else this.#bucket(change.bucket)?.delete(`${change.namespace}/${change.name}`);
    }
    this.txId = txId;
  }

  /**
   * Treats a document that is not an object as missing, so that one malformed document does not end every controller.
   */
  #put({
    bucket,
    namespace,
    name,
    revision,
    document,
  }: Omit<Listed, "document"> & { document: unknown }): void {
    const isMap = typeof document === "object" && document !== null;
    if (isMap) this.#bucket(bucket)?.set(`${namespace}/${name}`, { revision, document });
    else this.#bucket(bucket)?.delete(`${namespace}/${name}`);
  }

  /** Returns undefined for other buckets. Fields of documents are not checked. */
  #bucket(name: string): Map<string, Seen<unknown>> | undefined {
    const bucket = BUCKETS.find((known) => known === name);
    return bucket === undefined ? undefined : this[bucket];
  }
}
