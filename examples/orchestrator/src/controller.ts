import { type CairnClient, CairnClientError, type TxOperation } from "@cairn/client";
import { ClusterState, LEASE_KEY } from "./cluster-state.ts";
import type { Followed } from "./follow.ts";
import { reconcile } from "./reconcile.ts";
import type { Lease } from "./resources.ts";

/** What a controller is started with. */
export interface ControllerOptions {
  readonly client: CairnClient;
  /** Its name among the controllers. */
  readonly name: string;
  /** For how long a holder of the lease may be silent before another controller takes it. */
  readonly leaseMs?: number;
  readonly signal: AbortSignal;
  /** Told everything that the controller is told, in that order. */
  readonly onFollowed?: (followed: Followed) => void;
  /** Told what it does, and what kept it from doing something, in a sentence. */
  readonly onAction?: (sentence: string) => void;
}

/** The acting half of a controller: sees what it is told, and does, one transaction at a time, what follows from it. */
export class Controller {
  readonly #options: Required<Pick<ControllerOptions, "client" | "name" | "leaseMs" | "onAction">>;
  readonly #state = new ClusterState();
  /** The decisions of transactions up to this one have to be seen before there are others. */
  #decided = 0;
  /** When the lease was last seen to change, by this process's own clock: no two clocks are ever compared. */
  #leaseSeenAt = performance.now();
  #leaseSeen: number | undefined;
  #wake: (() => void) | undefined;
  #hasNews = false;

  constructor({ client, name, leaseMs = 5_000, onAction = () => {} }: ControllerOptions) {
    this.#options = { client, name, leaseMs, onAction };
  }

  /** To be called with everything that {@link follow} tells, in that order. */
  see(followed: Followed): void {
    this.#state.apply(followed);
    if (this.#state.lease?.revision !== this.#leaseSeen) {
      this.#leaseSeen = this.#state.lease?.revision;
      this.#leaseSeenAt = performance.now();
    }
    this.#hasNews = true;
    this.#wake?.();
  }

  /** Acts until `signal` is aborted. */
  async act(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#somethingToDo(signal);
      if (signal.aborted || this.#state.txId === 0) continue;
      try {
        await this.#turn(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!passes(error)) throw error;
        // Perhaps it took effect, perhaps it will: what is seen from now on tells, and is decided upon anew.
        this.#options.onAction(`goes on after: ${error.message}`);
      }
    }
  }

  /** Resolves when something was seen since the last turn began, and every third of the lease. */
  async #somethingToDo(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), this.#options.leaseMs / 3);
      this.#wake = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#wake = undefined;
        resolve();
      };
      const onAbort = (): void => this.#wake?.();
      signal.addEventListener("abort", onAbort);
      if (this.#hasNews || signal.aborted) this.#wake();
    });
    this.#hasNews = false;
  }

  async #turn(signal: AbortSignal): Promise<void> {
    // What was decided and not seen yet would be decided once more, in vain.
    if (this.#state.txId < this.#decided) return;
    const { name, leaseMs } = this.#options;
    const holds = this.#state.lease?.document.holder === name;
    const silentMs = performance.now() - this.#leaseSeenAt;
    if (!holds && (this.#state.lease === undefined || silentMs > leaseMs)) await this.#take(signal);
    else if (holds && silentMs > leaseMs / 3) await this.#renew(signal);
    else if (holds) await this.#reconcile(signal);
  }

  async #take(signal: AbortSignal): Promise<void> {
    const { document: before } = this.#state.lease ?? {};
    const lease: Lease = { holder: this.#options.name, term: (before?.term ?? 0) + 1, renewal: 0 };
    if (await this.#transact([["put", "leases", LEASE_KEY, lease]], signal)) {
      const from = before === undefined ? "" : `, which ${before.holder} had`;
      this.#options.onAction(`takes the lease${from}`);
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const lease = this.#state.lease?.document;
    if (lease === undefined) return;
    const renewed: Lease = { ...lease, renewal: lease.renewal + 1 };
    await this.#transact([["put", "leases", LEASE_KEY, renewed]], signal);
  }

  async #reconcile(signal: AbortSignal): Promise<void> {
    const owners = [...this.#state.pods.values()].map(({ document }) => document.deployment);
    for (const key of new Set([...this.#state.deployments.keys(), ...owners])) {
      const ops = reconcile(this.#state, key);
      if (ops.length === 0) continue;
      const done = ops.flatMap((op) => (op[0] === "put" || op[0] === "delete" ? [`${op[0]} ${op[2]}`] : []));
      if (await this.#transact(ops, signal)) this.#options.onAction(`${key}: ${done.join(", ")}`);
      // One decision at a time: the next deployment is decided upon with this one's pods in their places.
      return;
    }
  }

  /** Whether it took effect. What it was based on has changed otherwise, which is on its way here. */
  async #transact(ops: readonly TxOperation[], signal: AbortSignal): Promise<boolean> {
    const fence: TxOperation = ["match", "leases", LEASE_KEY, this.#state.lease?.revision ?? null];
    const outcome = await this.#options.client.transact({ ops: [fence, ...ops] }, { signal });
    if (outcome.committed) this.#decided = outcome.duplicateOf ?? outcome.txId;
    return outcome.committed;
  }
}

/** Nodes were away, or slow, for longer than the client tries. */
function passes(error: unknown): error is CairnClientError {
  return (
    error instanceof CairnClientError &&
    (error.code === "UNREACHABLE" || error.code === "TX_TIMEOUT" || error.status === 503)
  );
}
