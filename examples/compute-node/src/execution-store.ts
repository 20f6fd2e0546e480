import { setTimeout as delay } from "node:timers/promises";
import type { CairnNode, StoredDocument, TxId } from "@cairn/node";
import { BUCKET, type Counters, type Execution, type ExecutionState } from "./executions.ts";

/** An execution with its key and the revision that it was seen at. */
export interface SeenExecution {
  readonly key: string;
  readonly revision: number;
  readonly execution: Execution;
}

const POLL_MS = 20;

/** The executions in an embedded node. */
export class ExecutionStore {
  readonly #node: CairnNode;

  private constructor(node: CairnNode) {
    this.#node = node;
  }

  /** Once the node is ready and knows the states of its executions: at once, except when it learns to, the first time. */
  static async open(node: CairnNode): Promise<ExecutionStore> {
    await node.ready;
    const store = new ExecutionStore(node);
    while ((await store.counters()) === undefined) await delay(POLL_MS);
    return store;
  }

  /**
   * How many executions there are in each state. They were counted as they were written, so this reads a few rows however many
   * executions there are. Undefined while the states are not indexed yet.
   */
  async counters(): Promise<{ readonly txId: TxId; readonly counters: Counters } | undefined> {
    const { txId, buckets } = await this.#node.buckets();
    const counters = buckets.find(({ name }) => name === BUCKET)?.fields["state"]?.counts ?? undefined;
    return counters === undefined ? undefined : { txId, counters };
  }

  /** All that are in a state, page after page, as of one transaction; from the index, without looking at others. */
  async *inState(
    state: ExecutionState,
  ): AsyncGenerator<{ readonly txId: TxId; readonly found: readonly SeenExecution[] }, void, void> {
    const query = { bucket: BUCKET, where: { field: "state", value: state }, limit: 1_000 };
    let cursor: string | undefined;
    do {
      const page = await this.#node.list(cursor === undefined ? query : { ...query, cursor });
      yield { txId: page.txId, found: page.documents.map(seen) };
      ({ cursor } = page);
    } while (cursor !== undefined);
  }

  /** Every execution that is created after transaction `from`; ends when the watch does. */
  async *createdAfter(from: TxId, signal: AbortSignal): AsyncGenerator<SeenExecution, void, void> {
    for await (const event of this.#node.watch({ bucket: BUCKET, from, signal })) {
      if (event.type === "cutoff") return;
      if (event.type !== "tx") continue;
      for (const { json, ...change } of event.changes) {
        if (json === undefined) continue;
        const written = seen({ ...change, json });
        if (isCreated(written.execution)) yield written;
      }
    }
  }

  /** Writes an execution over the one that was seen. Undefined, and nothing is written, where that is not what is there any more. */
  async replace({ key, revision }: SeenExecution, execution: Execution): Promise<SeenExecution | undefined> {
    const { txId } = await this.#node.submit({
      ops: [
        ["match", BUCKET, key, revision],
        ["put", BUCKET, key, execution],
      ],
    });
    const { committed } = await this.#node.await(txId);
    return committed ? { key, revision: txId, execution } : undefined;
  }
}

/** Anybody may write anything into the bucket, `null` for example: that is no execution, and nobody's to run. */
function isCreated(execution: Partial<Execution> | null): boolean {
  return execution?.state === "created";
}

function seen({ namespace, name, revision, json }: StoredDocument): SeenExecution {
  return { key: `${namespace}/${name}`, revision, execution: JSON.parse(json) as Execution };
}
