import { type KvReader, levelProvider, readAhead } from "@cairn/kv";
import { Inbox, lowerThreadPriority, sendError, type SentError } from "@cairn/kv/threads";
import type { Position } from "@cairn/client";
import { formatPosition } from "@cairn/text";
import { parentPort, workerData } from "node:worker_threads";
import type { IndexState } from "../index/rows/index-state.ts";
import { openIndex } from "../index/local-index.ts";
import { type ScannedStates, scanStates, type StateChange, type StatesFilter } from "../index/read/states.ts";
import { importIndex } from "./import-index.ts";
import type { OwnIndex, ServedIndex } from "./own-index.ts";
import { unpackStates } from "./packed-rows.ts";
import type { FedBatch } from "./state-feed.ts";

// One thread runs this module for each index of one's own.

/** Answered one after the other. Between batches that belong together, the index is not ready for some of them. */
export type ThreadRequest =
  | { readonly op: "build"; readonly dir: string; readonly buckets: readonly string[] | undefined }
  | { readonly op: "apply"; readonly batch: FedBatch }
  | { readonly op: "capture"; readonly dir: string; readonly purge: boolean }
  | { readonly op: "purge" }
  | { readonly op: "digest" }
  | { readonly op: "close" };

/** What an index can do, and what it contains when it is opened; then an answer to each request, or progress of it. */
export type ThreadMessage =
  | { readonly opened: Position | undefined; readonly can: readonly OptionalOperation[] }
  | { readonly answer: string | undefined; readonly isBetween?: true }
  | { readonly built: number }
  /** The end of a copy that a capture began. */
  | { readonly copied: SentError | undefined }
  | { readonly notice: string }
  | { readonly failed: SentError };

const OPTIONAL = ["capture", "purge", "digest", "query"] as const satisfies (keyof OwnIndex)[];
export type OptionalOperation = (typeof OPTIONAL)[number];

const BETWEEN_SEQUENCES: ReadonlySet<ThreadRequest["op"]> = new Set(["capture", "purge", "digest"]);
const CLEAR: StateChange = { op: "clear" };

if (parentPort === null) throw new Error("This module runs in a thread.");
const port = parentPort;
const requests = new Inbox<ThreadRequest>();
let isClosing = false;
/** Whether batches that belong together have begun, and the last of them has not been applied. */
let isBetween = false;
port.on("message", (request: ThreadRequest) => {
  isClosing ||= request.op === "close";
  requests.put(request);
});

function post(message: ThreadMessage): void {
  port.postMessage(message);
}

try {
  // Writes and other reads come first.
  lowerThreadPriority();
  const own = await importIndex(workerData as ServedIndex, false, (notice) => post({ notice }));
  const can = OPTIONAL.filter((name) => own[name] !== undefined);
  post({ opened: await own.position(), can });
  for (let request = await requests.take(); request.op !== "close"; request = await requests.take()) {
    // What was requested before the thread was told to close would only delay that.
    if (isClosing) continue;
    if (isBetween && BETWEEN_SEQUENCES.has(request.op)) post({ answer: undefined, isBetween });
    else post({ answer: await answer(own, request) });
  }
  await own.close();
} catch (error) {
  post({ failed: sendError(error) });
}
port.close();

async function answer(own: OwnIndex, request: ThreadRequest): Promise<string | undefined> {
  switch (request.op) {
    case "build":
      return await build(own, request.dir, request.buckets);
    case "apply":
      isBetween = !request.batch.complete;
      await own.apply(received(request.batch));
      return undefined;
    case "capture": {
      if (request.purge) await own.purge?.();
      const capture = await own.capture?.(request.dir);
      capture?.copied.then(
        () => post({ copied: undefined }),
        (error: unknown) => post({ copied: sendError(error) }),
      );
      return undefined;
    }
    case "purge":
      await own.purge?.();
      return undefined;
    case "digest":
      return await own.digest?.();
    case "close":
      return undefined;
  }
}

function received({ position, complete, changes, rows }: FedBatch): Parameters<OwnIndex["apply"]>[0] {
  // Later rows replace earlier ones of the same key.
  const states = rows.length === 1 ? rows[0] : rows.length === 0 ? undefined : Buffer.concat(rows);
  return {
    position,
    complete,
    changes: states === undefined ? changes : [...changes, ...unpackStates(states)],
  };
}

/** Builds the content from a copy of the node's index, and returns its position. */
async function build(
  own: OwnIndex,
  dir: string,
  buckets: readonly string[] | undefined,
): Promise<Position | undefined> {
  const { kv, state } = await openIndex(levelProvider(), dir);
  try {
    if (state === undefined) throw new Error(`the copy of the index in ${dir} is empty`);
    const position = formatPosition(state);
    const filters: StatesFilter[] = buckets?.toSorted().map((bucket) => ({ bucket })) ?? [{}];
    let documents = 0;
    await own.apply({ position, complete: false, changes: [CLEAR] });
    for (const filter of filters) {
      for await (const changes of readAhead(statePages(kv, state, filter))) {
        if (isClosing) return undefined;
        await own.apply({ position, complete: false, changes });
        documents += changes.length;
        post({ built: documents });
      }
    }
    await own.apply({ position, complete: true, changes: [] });
    return position;
  } finally {
    await kv.close();
  }
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
