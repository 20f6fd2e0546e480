/** What a person writes into `deployments`: so many pods of one image. */
export type Deployment = { readonly image: string; readonly replicas: number };

/** A document of `pods`. The controller makes it and says where it runs; the kubelet of that node says that it does. */
export type Pod = {
  readonly deployment: string;
  readonly image: string;
  readonly node: string;
  readonly phase: "Pending" | "Running";
};

/** A document of `nodes`: a machine that takes pods as long as its document is there. */
export type Machine = { readonly pods: number };

/** A document of `leases`: who may act. A higher `term` is a later holder; `renewal` counts that holder's signs of life. */
export type Lease = { readonly holder: string; readonly term: number; readonly renewal: number };

/** A document with the revision that it had when it was seen, on which a write can insist. */
export interface Seen<T> {
  readonly revision: number;
  readonly document: T;
}
