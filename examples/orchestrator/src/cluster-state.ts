import type { Followed, Listed } from "./follow.ts";
import type { Deployment, Lease, Machine, Pod, Seen } from "./resources.ts";

/** Where the lease of the controllers lies. */
export const LEASE_KEY = "default/controller";

/** The buckets that a controller has to know. */
export const BUCKETS = ["deployments", "pods", "nodes", "leases"] as const;

/** What the cluster is, as far as it was told: a copy of four buckets in memory, by key. */
export class ClusterState {
  /** Everything up to this transaction is in it. */
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

  /** One mistyped document must not end every controller: what is no map at all counts as not there. */
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

  /** Undefined for a bucket that is somebody else's. Fields are taken for what their writers make of them. */
  #bucket(name: string): Map<string, Seen<unknown>> | undefined {
    const bucket = BUCKETS.find((known) => known === name);
    return bucket === undefined ? undefined : this[bucket];
  }
}
