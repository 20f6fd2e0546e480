import { systemClock, isCairnError, SharedResults } from "@cairn/kv";
import { timeoutSignal } from "@cairn/client/protocol";
import type { ClusterFinding, ClusterStatus, NodeStatus } from "@cairn/client";
import { asFailure } from "../observe/failures.ts";
import type { TxLog } from "../log/tx-log.ts";
import { askStatus, type Peer } from "./ask-cluster.ts";
import { finding } from "../findings/findings.ts";
import { clusterStatus } from "./cluster-findings.ts";
import { type ClusterView, viewOf } from "./cluster-view.ts";
import { type PeerIdentity, passedOn } from "./peer-messages.ts";

/** How long a status of the cluster is served again (ms), so that any number of pages cost one request to the nodes. */
const KEEP_MS = 1_000;

/**
 * Returns a function that asks the nodes of this node's log, at most twice for `timeoutMs`, and only for a moment if all
 * known nodes (`expected`) respond. A node whose log connects no nodes sees only itself.
 */
export function clusterLook(
  identity: PeerIdentity,
  expected: () => ReadonlySet<string>,
  status: () => Promise<NodeStatus>,
  log: () => TxLog | undefined,
): (timeoutMs: number) => Promise<ClusterStatus> {
  const shared = new SharedResults<ClusterStatus>(KEEP_MS);
  const self = async (): Promise<Peer> => ({ ...identity, status: passedOn(await status()) });

  async function look(timeoutMs: number): Promise<ClusterStatus> {
    let refused: ClusterFinding[] = [];
    let view: ClusterView;
    try {
      view = await ask(timeoutMs, expected());
      // A node that only others have heard from may just be slower than the others.
      if (view.silent.some(({ instance }) => !expected().has(instance)))
        view = await ask(timeoutMs, undefined);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      const message = `The other nodes could not be asked. ${error.message}`;
      refused = [{ ...finding("nodes-not-asked", { ...asFailure(error), message }), node: identity.node }];
      view = alone(await self());
    }
    const { node, instance } = identity;
    return { ...clusterStatus(view, systemClock.now(), refused), askedBy: { node, instance } };
  }

  async function ask(timeoutMs: number, wanted: ReadonlySet<string> | undefined): Promise<ClusterView> {
    const channel = log()?.peers;
    if (channel === undefined) return alone(await self());
    const responded = await askStatus(channel, { timeoutMs, expected: wanted });
    const found = responded.find(({ instance }) => instance === identity.instance);
    // The server may not permit this node to respond, not even to itself.
    const own = found ?? (await self());
    const peers = found === undefined ? [own, ...responded] : responded;
    const { log: known } = alone(own);
    const { id } = known;
    if (id === null) return { log: known, peers, silent: [], past: undefined };
    return await viewOf(channel, { ...known, id }, peers, { timeoutMs, signal: timeoutSignal(timeoutMs) });
  }

  return async (timeoutMs) => await shared.get(String(timeoutMs), async () => await look(timeoutMs));
}

function alone(self: Peer): ClusterView {
  const { name, id, lastTxId } = self.status.log;
  return { log: { name, id, lastTxId }, peers: [self], silent: [], past: undefined };
}
