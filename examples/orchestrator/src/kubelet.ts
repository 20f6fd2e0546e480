import { type CairnClient, CairnClientError } from "@cairn/client";
import type { Machine, Pod } from "./resources.ts";

/** Options for a kubelet. */
export interface KubeletOptions {
  readonly client: CairnClient;
  /** The node on which the kubelet runs. */
  readonly node: string;
  /** The number of pods that the node can run. */
  readonly pods: number;
  readonly signal: AbortSignal;
}

/**
 * Announces a node and, until `signal` is aborted, runs the pods that are scheduled to it, which here only means reporting them as running.
 */
export async function runKubelet({ client, node, pods, signal }: KubeletOptions): Promise<void> {
  try {
    const machine: Machine = { pods };
    await client.put("nodes", node, machine, { signal });
    for await (const { changes } of client.follow<Pod | null>({ bucket: "pods", signal })) {
      for (const change of changes) {
        if (change.op !== "put") continue;
        const { namespace, name, revision, document: pod } = change;
        if (pod?.node === node && pod.phase === "Pending") {
          await startPod(client, `${namespace}/${name}`, revision, pod, signal);
        }
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function startPod(
  client: CairnClient,
  key: string,
  ifRevision: number,
  pod: Pod,
  signal: AbortSignal,
): Promise<void> {
  try {
    const running: Pod = { ...pod, phase: "Running" };
    await client.put("pods", key, running, { ifRevision, signal });
  } catch (error) {
    // The pod has been deleted or rescheduled since, as a later change will show.
    if (!(error instanceof CairnClientError) || error.code !== "CONFLICT") throw error;
  }
}
