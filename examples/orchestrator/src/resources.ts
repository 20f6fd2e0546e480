/** A document of `deployments`, which users write: the desired number of pods of an image. */
export type Deployment = { readonly image: string; readonly replicas: number };

/** A document of `pods`. The controller creates it and chooses its node, and that node's kubelet sets its phase. */
export type Pod = {
  readonly deployment: string;
  readonly image: string;
  readonly node: string;
  readonly phase: "Pending" | "Running";
};

/** A document of `nodes`: a machine that can run `pods` pods for as long as the document exists. */
export type Machine = { readonly pods: number };

/**
 * A document of `leases`: it names the controller that may act. A later holder has a higher `term`; `renewal` counts the holder's renewals.
 */
export type Lease = { readonly holder: string; readonly term: number; readonly renewal: number };

/** A document with the revision at which it was seen. A write can require that revision. */
export interface Seen<T> {
  readonly revision: number;
  readonly document: T;
}
