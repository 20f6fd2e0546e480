import type { TxOperation } from "@cairn/client";
import type { ClusterState } from "./cluster-state.ts";
import type { Deployment, Pod, Seen } from "./resources.ts";

/**
 * Returns the operations of a transaction that makes a deployment's pods match it; none if they already match. The
 * operations include the revisions on which the decision is based, so that the transaction takes effect only if nothing
 * has changed since. They also include an event for each change, which is recorded only if the transaction takes
 * effect.
 */
export function reconcile(state: ClusterState, key: string): TxOperation[] {
  const deployment = state.deployments.get(key);
  const pods = [...state.pods].filter(([, pod]) => pod.document.deployment === key);
  const kept = pods.filter(([, pod]) => isWanted(state, deployment, pod)).toSorted(byNumber);
  const surplus = kept.splice(deployment?.document.replicas ?? 0);
  const ops: TxOperation[] = [];
  for (const [name, { revision, document }] of pods) {
    if (kept.some(([other]) => other === name)) continue;
    const reason = surplus.some(([other]) => other === name) ? "ScaledDown" : "Replaced";
    ops.push(["match", "pods", name, revision], ["delete", "pods", name]);
    ops.push(event(name, reason, `from ${document.node}`));
  }
  if (deployment !== undefined) ops.push(...missingPods(state, key, deployment.document, kept, pods));
  if (ops.length > 0) ops.unshift(["match", "deployments", key, deployment?.revision ?? null]);
  return ops;
}

type NamedPod = readonly [name: string, pod: Seen<Pod>];

function missingPods(
  state: ClusterState,
  key: string,
  { image, replicas }: Deployment,
  kept: readonly NamedPod[],
  pods: readonly NamedPod[],
): TxOperation[] {
  const ops: TxOperation[] = [];
  const room = roomOnNodes(state);
  // The names of pods that this transaction deletes are not free yet, because a transaction must not write a key twice.
  const taken = new Set(pods.map(([name]) => name));
  for (let missing = replicas - kept.length, number = 0; missing > 0; number += 1) {
    const name = `${key}-${number}`;
    if (taken.has(name)) continue;
    const [node] = [...room].toSorted(([, a], [, b]) => b - a)[0] ?? [];
    // All nodes are full. A new node will be seen like any other change.
    if (node === undefined || (room.get(node) ?? 0) <= 0) break;
    room.set(node, (room.get(node) ?? 0) - 1);
    const pod: Pod = { deployment: key, image, node, phase: "Pending" };
    ops.push(["match", "pods", name, null], ["put", "pods", name, pod]);
    ops.push(event(name, "Scheduled", `to ${node}`));
    missing -= 1;
  }
  return ops;
}

/** Returns the number of additional pods that each node can run. */
function roomOnNodes(state: ClusterState): Map<string, number> {
  const room = new Map([...state.nodes].map(([key, { document }]) => [nodeName(key), document.pods]));
  for (const { document } of state.pods.values()) {
    const left = room.get(document.node);
    if (left !== undefined) room.set(document.node, left - 1);
  }
  return room;
}

/** Returns whether a pod has the deployment's image and its node exists. */
function isWanted(state: ClusterState, deployment: Seen<Deployment> | undefined, pod: Seen<Pod>): boolean {
  return deployment?.document.image === pod.document.image && state.nodes.has(`default/${pod.document.node}`);
}

function byNumber([a]: NamedPod, [b]: NamedPod): number {
  return Number(a.slice(a.lastIndexOf("-") + 1)) - Number(b.slice(b.lastIndexOf("-") + 1));
}

function nodeName(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}

function event(pod: string, reason: string, message: string): TxOperation {
  return ["event", { object: `pod/${pod}`, bucket: "pods", reason, message, source: "controller" }];
}
