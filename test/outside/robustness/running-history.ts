import { setTimeout as delay } from "node:timers/promises";
import { seededPicks } from "@cairn/test-support/seeded-random";
import type { Cluster } from "../porcupine/cluster.ts";
import { HistoryClient, type Listed, type SharedClientState } from "./clients.ts";
import { bucketOf, type History, NAMESPACES } from "./history.ts";
import { BEGINNING, HistoryWatcher } from "./watcher.ts";

const CLIENTS = 4;
const WATCHERS = 3;
const RETRY_MS = 50;
const LISTED_WITHIN_MS = 60_000;

/** A history without the log, and the last transaction that its clients and watchers have seen for certain. */
export type EndedHistory = Pick<History, "history" | "operations" | "watches"> & { readonly upTo: number };

/** A history whose clients have ended, while its watchers are still receiving. */
export class RunningHistory {
  readonly #shared: SharedClientState;
  readonly #client: HistoryClient;
  readonly #watchers: readonly HistoryWatcher[];

  private constructor(shared: SharedClientState, client: HistoryClient, watchers: readonly HistoryWatcher[]) {
    this.#shared = shared;
    this.#client = client;
    this.#watchers = watchers;
  }

  /** Lets clients write and read a new bucket through all nodes until `signal` aborts. */
  static async make(
    history: number,
    seed: number,
    cluster: Cluster,
    signal: AbortSignal,
  ): Promise<RunningHistory> {
    const urls = [cluster.url(0), cluster.url(1), cluster.url(2)] as const;
    const shared: SharedClientState = { history, urls: [...urls], operations: [], seen: [], clients: 0 };
    const picksOf = (n: number) => seededPicks((seed * 1_000 + history) * 100 + n);
    const clients = Array.from({ length: CLIENTS }, (_, n) => new HistoryClient(shared, picksOf(n)));
    const [client = new HistoryClient(shared, picksOf(0))] = clients;
    // The model begins with the read of an empty bucket.
    await listCertainly(client);
    const watch = async (n: number): Promise<HistoryWatcher> => {
      const picks = picksOf(CLIENTS + n);
      // One watches everything from the beginning of the log, the others what follows a list.
      if (n > 0) await delay(picks.next() * 500);
      const namespace = n > 1 ? picks.of(NAMESPACES) : "";
      const begin = n === 0 ? BEGINNING : await listCertainly(new HistoryClient(shared, picks), namespace);
      return new HistoryWatcher({ bucket: bucketOf(history), namespace, begin, urls: [...urls], picks });
    };
    const [watchers] = await Promise.all([
      Promise.all(Array.from({ length: WATCHERS }, (_, n) => watch(n))),
      ...clients.map((one) => one.run(signal)),
    ]);
    return new RunningHistory(shared, client, watchers);
  }

  /** Reads everything once more, and waits until the watchers have received it. */
  async end(): Promise<EndedHistory> {
    const { txId } = await listCertainly(this.#client);
    const watches = await Promise.all(this.#watchers.map((watcher) => watcher.finish(txId)));
    const received = watches.flatMap(({ connections }) =>
      connections.flatMap(({ events }) => events.map((event) => event.txId)),
    );
    const { history, operations } = this.#shared;
    const inOrder = operations.toSorted((a, b) => a.call - b.call);
    return { history, operations: inOrder, watches, upTo: Math.max(txId, ...received) };
  }
}

/** Lists until a node responds. */
async function listCertainly(client: HistoryClient, namespace = ""): Promise<Listed> {
  for (const deadline = Date.now() + LISTED_WITHIN_MS; ;) {
    const listed = await client.list("linearizable", namespace);
    if (listed !== undefined) return listed;
    if (Date.now() > deadline) throw new Error("no node lists a bucket");
    await delay(RETRY_MS);
  }
}
