import { systemClock, isCairnError, SharedResults } from "@cairn/kv";
import { timeoutSignal } from "@cairn/client/protocol";
import type { ClusterFinding, ClusterStatus, NodeStatus } from "@cairn/client";
import type { TxLog } from "../log/tx-log.ts";
import { askStatus, type Peer } from "./ask-cluster.ts";
import { finding } from "../findings/findings.ts";
import { clusterStatus } from "./cluster-findings.ts";
import { type ClusterView, viewOf } from "./cluster-view.ts";
import { type PeerIdentity, passedOn } from "./peer-messages.ts";

/** How long a status of the cluster is served again (ms), so that any number of pages cost one request to the nodes. */
const KEEP_MS = 1_000;

export interface ClusterLookParts {
  readonly identity: PeerIdentity;
  /** Returns the instances that are expected to respond. */
  readonly expected: () => ReadonlySet<string>;
  readonly status: () => Promise<NodeStatus>;
  readonly log: () => TxLog | undefined;
}

/** The nodes of this node's log, as it asks them. A node whose log connects no nodes sees only itself. */
export class ClusterLook {
  readonly #parts: ClusterLookParts;
  readonly #shared = new SharedResults<ClusterStatus>(KEEP_MS);

  constructor(parts: ClusterLookParts) {
    this.#parts = parts;
  }

  /** Waits for responses at most twice `timeoutMs`, and only a moment if all known nodes respond. */
  async status(timeoutMs: number): Promise<ClusterStatus> {
    return await this.#shared.get(String(timeoutMs), async () => await this.#look(timeoutMs));
  }

  async #look(timeoutMs: number): Promise<ClusterStatus> {
    const { identity } = this.#parts;
    let refused: ClusterFinding[] = [];
    let view: ClusterView;
    try {
      view = await this.#ask(timeoutMs, this.#parts.expected());
      // A node that only others have heard from may just be slower than the others.
      if (view.silent.some(({ instance }) => !this.#parts.expected().has(instance)))
        view = await this.#ask(timeoutMs, undefined);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      const message = `The other nodes could not be asked. ${error.message}`;
      const { code, hint } = error;
      refused = [
        { ...finding("nodes-not-asked", { code, message, hint: hint ?? null }), node: identity.node },
      ];
      view = alone(await this.#self());
    }
    const { node, instance } = identity;
    return { ...clusterStatus(view, systemClock.now(), refused), askedBy: { node, instance } };
  }

  async #ask(timeoutMs: number, expected: ReadonlySet<string> | undefined): Promise<ClusterView> {
    const channel = this.#parts.log()?.peers;
    if (channel === undefined) return alone(await this.#self());
    const responded = await askStatus(channel, { timeoutMs, expected });
    const self = responded.find(({ instance }) => instance === this.#parts.identity.instance);
    // The server may not permit this node to respond, not even to itself.
    const own = self ?? (await this.#self());
    const peers = self === undefined ? [own, ...responded] : responded;
    const { log } = alone(own);
    const { id } = log;
    if (id === null) return { log, peers, silent: [], past: undefined };
    return await viewOf(channel, { ...log, id }, peers, { timeoutMs, signal: timeoutSignal(timeoutMs) });
  }

  async #self(): Promise<Peer> {
    return { ...this.#parts.identity, status: passedOn(await this.#parts.status()) };
  }
}

/** Returns the view of a node that knows of no other. */
function alone(self: Peer): ClusterView {
  const { name, id, lastTxId } = self.status.log;
  return { log: { name, id, lastTxId }, peers: [self], silent: [], past: undefined };
}
