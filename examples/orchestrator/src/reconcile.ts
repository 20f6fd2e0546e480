import type { TxOperation } from "@cairn/client";
import type { ClusterState } from "./cluster-state.ts";
import type { Deployment, Pod, Seen } from "./resources.ts";

/**
 * What has to be done for one deployment, as the operations of one transaction; none where everything is as desired. Each decision
 * comes with the revisions it was made from, so that it takes effect on exactly what was seen, or not at all; and with an event,
 * which is recorded exactly if it took effect.
 */
export function reconcile(state: ClusterState, key: string): TxOperation[] {
  const deployment = state.deployments.get(key);
  const mine = [...state.pods].filter(([, pod]) => pod.document.deployment === key);
  const kept = mine.filter(([, pod]) => isWanted(state, deployment, pod)).toSorted(byNumber);
  const surplus = kept.splice(deployment?.document.replicas ?? 0);
  const ops: TxOperation[] = [];
  for (const [name, { revision, document }] of mine) {
    if (kept.some(([other]) => other === name)) continue;
    const why = surplus.some(([other]) => other === name) ? "ScaledDown" : "Replaced";
    ops.push(["match", "pods", name, revision], ["delete", "pods", name]);
    ops.push(event(name, why, `from ${document.node}`));
  }
  if (deployment !== undefined) ops.push(...missingPods(state, key, deployment.document, kept, mine));
  if (ops.length > 0) ops.unshift(["match", "deployments", key, deployment?.revision ?? null]);
  return ops;
}

type NamedPod = readonly [name: string, pod: Seen<Pod>];

function missingPods(
  state: ClusterState,
  key: string,
  { image, replicas }: Deployment,
  kept: readonly NamedPod[],
  mine: readonly NamedPod[],
): TxOperation[] {
  const ops: TxOperation[] = [];
  const load = loadOfNodes(state);
  // A name is free once its pod was seen to be gone: one that is deleted now is not made again in the same transaction.
  const taken = new Set(mine.map(([name]) => name));
  for (let missing = replicas - kept.length, number = 0; missing > 0; number += 1) {
    const name = `${key}-${number}`;
    if (taken.has(name)) continue;
    const [node] = [...load].toSorted(([, a], [, b]) => b - a)[0] ?? [];
    // Nobody has room: the next node that comes is seen like any other change.
    if (node === undefined || (load.get(node) ?? 0) <= 0) break;
    load.set(node, (load.get(node) ?? 0) - 1);
    const pod: Pod = { deployment: key, image, node, phase: "Pending" };
    ops.push(["match", "pods", name, null], ["put", "pods", name, pod]);
    ops.push(event(name, "Scheduled", `to ${node}`));
    missing -= 1;
  }
  return ops;
}

/** How many more pods each node takes. */
function loadOfNodes(state: ClusterState): Map<string, number> {
  const room = new Map([...state.nodes].map(([key, { document }]) => [nodeName(key), document.pods]));
  for (const { document } of state.pods.values()) {
    const left = room.get(document.node);
    if (left !== undefined) room.set(document.node, left - 1);
  }
  return room;
}

/** Of the deployment's image, on a node that is there. */
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
