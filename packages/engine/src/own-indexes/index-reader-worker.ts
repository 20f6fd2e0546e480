import { type KvReader, levelProvider, Semaphore } from "@cairn/kv";
import { lowerThreadPriority, sendError, type SentError } from "@cairn/kv/threads";
import { formatPosition } from "@cairn/text";
import { parentPort, workerData } from "node:worker_threads";
import { readIndex } from "../index/local-index.ts";
import { type ScannedStates, scanStates, type StateChange, type StatesFilter } from "../index/read/states.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import type { IndexBatch } from "./own-index.ts";

// A thread of this module reads a copy of a node's index while the thread of an index of one's own builds from it.

export interface ReaderOrder {
  readonly dir: string;
  readonly buckets: readonly string[] | undefined;
}

/** The batches of a build. Each has to be acknowledged with a message. */
export type ReaderMessage = { readonly batch: IndexBatch } | { readonly failed: SentError };

/** The number of batches that may not have been acknowledged. */
const MAX_BATCHES = 4;
const CLEAR: StateChange = { op: "clear" };

if (parentPort === null) throw new Error("This module runs in a thread.");
const port = parentPort;
const slots = new Semaphore(MAX_BATCHES);
const sent: (() => void)[] = [];
port.on("message", () => sent.shift()?.());

try {
  lowerThreadPriority();
  await sendIndex(workerData as ReaderOrder);
} catch (error) {
  port.postMessage({ failed: sendError(error) } satisfies ReaderMessage);
}
port.close();

async function sendIndex({ dir, buckets }: ReaderOrder): Promise<void> {
  await readIndex(levelProvider(), dir, async ({ kv, state }) => {
    if (state === undefined) throw new Error(`the copy of the index in ${dir} is empty`);
    const position = formatPosition(state);
    const filters: StatesFilter[] = buckets?.toSorted().map((bucket) => ({ bucket })) ?? [{}];
    await send({ position, complete: false, changes: [CLEAR] });
    for (const filter of filters) {
      for await (const changes of statePages(kv, state, filter))
        await send({ position, complete: false, changes });
    }
    await send({ position, complete: true, changes: [] });
  });
}

async function send(batch: IndexBatch): Promise<void> {
  sent.push(await slots.acquire());
  port.postMessage({ batch } satisfies ReaderMessage);
}

async function* statePages(
  kv: KvReader,
  state: IndexState,
  filter: StatesFilter,
): AsyncGenerator<readonly StateChange[], void, void> {
  let after: Uint8Array | undefined;
  do {
    const page: ScannedStates = await scanStates(kv, state, filter, after);
    yield page.changes;
    ({ after } = page);
  } while (after !== undefined);
}
