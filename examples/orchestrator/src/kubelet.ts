import { type CairnClient, CairnClientError } from "@cairn/client";
import { follow } from "./follow.ts";
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
    for await (const followed of follow(client, ["pods"], signal)) {
      const documents =
        followed.kind === "snapshot" ? followed.documents : followed.transaction.changes.filter(isPod);
      for (const { namespace, name, revision, document } of documents) {
        const pod = document as Pod | null;
        if (pod?.node === node && pod.phase === "Pending") {
          await startPod(client, `${namespace}/${name}`, revision, pod, signal);
        }
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function isPod({ op, bucket }: { readonly op: string; readonly bucket: string }): boolean {
  return op === "put" && bucket === "pods";
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
    // The pod has been deleted or rescheduled since, which the watch will show.
    if (!(error instanceof CairnClientError) || error.code !== "CONFLICT") throw error;
  }
}
