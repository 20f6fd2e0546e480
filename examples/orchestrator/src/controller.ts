import { type CairnClient, CairnClientError, type ClientStates, type TxOperation } from "@cairn/client";
import { ClusterState, LEASE_KEY } from "./cluster-state.ts";
import { reconcile } from "./reconcile.ts";
import type { Lease } from "./resources.ts";

/** Options for a controller. */
export interface ControllerOptions {
  readonly client: CairnClient;
  /** The name of the controller, unique among the controllers. */
  readonly name: string;
  /** The time (ms) for which a holder of the lease may be silent before another controller takes the lease. */
  readonly leaseMs?: number;
  readonly signal: AbortSignal;
  /** Called with everything that the controller receives, in order, and the state that results. */
  readonly onSeen?: (states: ClientStates, state: ClusterState) => void;
  /** Called with a sentence for each action, and for each error after which the controller continues. */
  readonly onAction?: (sentence: string) => void;
}

/** The half of a controller that acts. It decides on the basis of complete states, one transaction at a time. */
export class Controller {
  readonly #options: Required<Omit<ControllerOptions, "signal">>;
  readonly #state = new ClusterState();
  /**
   * The last transaction in which a decision of this controller was committed. It must be seen before the next
   * decision.
   */
  #decided = 0;
  /**
   * The time of the last visible change of the lease, by this process's clock. Clocks of different processes are never
   * compared.
   */
  #leaseSeenAt = performance.now();
  #leaseSeen: number | undefined;
  #wake: (() => void) | undefined;
  #hasNews = false;

  constructor(options: Omit<ControllerOptions, "signal">) {
    this.#options = { leaseMs: 5_000, onSeen: () => {}, onAction: () => {}, ...options };
  }

  /** Must be called with everything that `CairnClient.follow` yields, in the same order. */
  see(states: ClientStates): void {
    this.#state.apply(states);
    this.#options.onSeen(states, this.#state);
    if (this.#state.asOf === undefined) return;
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
      if (signal.aborted) return;
      try {
        await this.#turn(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!isTemporary(error)) throw error;
        // The transaction may have taken effect, or may yet do so. The next decision depends on what has been seen by
        // then.
        this.#options.onAction(`continues after: ${error.message}`);
      }
    }
  }

  /** Resolves once anything has been seen since the last turn began, or after a third of the lease. */
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
    const { asOf } = this.#state;
    // Pods that have not arrived yet would be missing, and a decision that has not been seen yet would be repeated.
    if (asOf === undefined || asOf < this.#decided) return;
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
      // There is one decision at a time, because the next one takes this deployment's new pods into account.
      return;
    }
  }

  /** Submits a transaction that requires the current lease. Returns false if anything on which it was based has changed. */
  async #transact(ops: readonly TxOperation[], signal: AbortSignal): Promise<boolean> {
    const fence: TxOperation = ["match", "leases", LEASE_KEY, this.#state.lease?.revision ?? null];
    const outcome = await this.#options.client.transact({ ops: [fence, ...ops] }, { signal });
    if (outcome.committed) this.#decided = outcome.duplicateOf ?? outcome.txId;
    return outcome.committed;
  }
}

/** Returns whether an error means that the nodes were down or slow for longer than the client retries. */
function isTemporary(error: unknown): error is CairnClientError {
  return (
    error instanceof CairnClientError &&
    (error.code === "UNREACHABLE" || error.code === "TX_TIMEOUT" || error.status === 503)
  );
}
