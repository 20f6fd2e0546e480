import { setTimeout as delay } from "node:timers/promises";
import type { CairnNode, Position, StoredDocument, TxId } from "@cairn/node";
import { BUCKET, type Counters, type Execution, type ExecutionState } from "./executions.ts";

/** An execution with its key and the revision at which it was seen. */
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

  /** Waits until the node is ready and has indexed the states of its executions, which takes time only at the first start. */
  static async open(node: CairnNode): Promise<ExecutionStore> {
    await node.ready;
    const store = new ExecutionStore(node);
    while ((await store.counters()) === undefined) await delay(POLL_MS);
    return store;
  }

  /**
   * Returns the number of executions in each state. They are counted as they are written, so this reads only a few rows however many
   * executions there are. Returns undefined until the states are indexed.
   */
  async counters(): Promise<{ readonly txId: TxId; readonly counters: Counters } | undefined> {
    const { txId, buckets } = await this.#node.buckets();
    const counters = buckets.find(({ name }) => name === BUCKET)?.fields["state"]?.counts ?? undefined;
    return counters === undefined ? undefined : { txId, counters };
  }

  /** Yields the executions in a state page by page, as of one transaction. Reads no others. */
  async *inState(
    state: ExecutionState,
  ): AsyncGenerator<{ readonly position: Position; readonly found: readonly SeenExecution[] }, void, void> {
    const query = { bucket: BUCKET, where: { field: "state", value: state }, limit: 1_000 };
    let cursor: string | undefined;
    do {
      const page = await this.#node.list(cursor === undefined ? query : { ...query, cursor });
      yield { position: page.position, found: page.documents.map(seen) };
      ({ cursor } = page);
    } while (cursor !== undefined);
  }

  /** Yields every execution that is created from this position on, until the watch ends. */
  async *createdAfter(from: Position, signal: AbortSignal): AsyncGenerator<SeenExecution, void, void> {
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

  /** Replaces an execution. Returns undefined, and writes nothing, if it has changed since it was seen. */
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

/** Returns whether a document is an execution to run. Any client may write any document to the bucket, such as `null`. */
function isCreated(execution: Partial<Execution> | null): boolean {
  return execution?.state === "created";
}

function seen({ namespace, name, revision, json }: StoredDocument): SeenExecution {
  return { key: `${namespace}/${name}`, revision, execution: JSON.parse(json) as Execution };
}
