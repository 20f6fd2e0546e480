import { setTimeout as delay } from "node:timers/promises";
import {
  type Bucket,
  type CairnClient,
  type CairnNode,
  type ClientDocument,
  hasCode,
  type Position,
  type TxId,
} from "@cairn/node";
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
  readonly #client: CairnClient;
  readonly #executions: Bucket<Execution>;

  private constructor(client: CairnClient) {
    this.#client = client;
    this.#executions = client.bucket<Execution>(BUCKET);
  }

  /** Waits until the node is ready and has indexed the states of its executions, which takes time only at the first start. */
  static async open(node: CairnNode): Promise<ExecutionStore> {
    await node.ready;
    const store = new ExecutionStore(node.client());
    while ((await store.counters()) === undefined) await delay(POLL_MS);
    return store;
  }

  /**
   * Returns the number of executions in each state. They are counted as they are written, so this reads only a few rows however many
   * executions there are. Returns undefined until the states are indexed.
   */
  async counters(): Promise<{ readonly txId: TxId; readonly counters: Counters } | undefined> {
    const { txId, buckets } = await this.#client.buckets();
    const counters = buckets.find(({ name }) => name === BUCKET)?.fields["state"]?.counts ?? undefined;
    return counters === undefined ? undefined : { txId, counters };
  }

  /** Yields the executions in a state page by page, as of one transaction. Reads no others. */
  async *inState(
    state: ExecutionState,
  ): AsyncGenerator<{ readonly position: Position; readonly found: readonly SeenExecution[] }, void, void> {
    const query = { where: `state:${state}`, pageSize: 1_000 };
    let cursor: string | undefined;
    do {
      const page = await this.#executions.page(query, cursor);
      yield { position: page.position, found: page.documents.map(seen) };
      cursor = page.next;
    } while (cursor !== undefined);
  }

  /** Yields every execution that is created from this position on, until the signal is aborted. */
  async *createdAfter(from: Position, signal: AbortSignal): AsyncGenerator<SeenExecution, void, void> {
    for await (const { changes } of this.#executions.watch({ from, signal }))
      for (const change of changes) if (change.op === "put" && isCreated(change.document)) yield seen(change);
  }

  /** Replaces an execution. Returns undefined, and writes nothing, if it has changed since it was seen. */
  async replace({ key, revision }: SeenExecution, execution: Execution): Promise<SeenExecution | undefined> {
    try {
      const { txId } = await this.#executions.put(key, execution, { ifRevision: revision });
      return { key, revision: txId, execution };
    } catch (error) {
      if (hasCode(error, "CONFLICT")) return undefined;
      throw error;
    }
  }
}

/** Returns whether a document is an execution to run. Any client may write any document to the bucket, such as `null`. */
function isCreated(execution: Partial<Execution> | null): boolean {
  return execution?.state === "created";
}

function seen({ namespace, name, revision, document }: ClientDocument<Execution>): SeenExecution {
  return { key: `${namespace}/${name}`, revision, execution: document };
}
