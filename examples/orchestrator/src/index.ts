export type { ControllerOptions } from "./controller.ts";
export { ClusterState } from "./cluster-state.ts";
export { runKubelet } from "./kubelet.ts";
export type { KubeletOptions } from "./kubelet.ts";
export { reconcile } from "./reconcile.ts";
export type { Deployment, Lease, Machine, Pod, Seen } from "./resources.ts";
export { runController } from "./run-controller.ts";
