import {
  Inbox,
  isCairnError,
  lowerThreadPriority,
  receiveError,
  sendError,
  type SentError,
  ThreadModule,
} from "@cairn/kv/threads";
import type { Position } from "@cairn/client";
import { POSITION_PATTERN } from "@cairn/text";
import { parentPort, workerData } from "node:worker_threads";
import { importIndex } from "./import-index.ts";
import type { ReaderMessage, ReaderOrder } from "./index-reader-worker.ts";
import type { IndexCapture, OwnIndex, ServedIndex } from "./own-index.ts";
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
  /** False between batches that belong together. */
  | { readonly answer: string | false | undefined }
  | { readonly built: number }
  /** The end of a copy that a capture began. */
  | { readonly copied: SentError | undefined }
  | { readonly notice: string }
  | { readonly failed: SentError };

const OPTIONAL = ["capture", "purge", "digest", "query"] as const satisfies (keyof OwnIndex)[];
export type OptionalOperation = (typeof OPTIONAL)[number];

const BETWEEN_SEQUENCES: ReadonlySet<ThreadRequest["op"]> = new Set(["capture", "purge", "digest"]);
const POSITION = new RegExp(POSITION_PATTERN);
const READER = new ThreadModule(import.meta.url, "index-reader-worker");

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
  const opened = await own.position();
  if (opened !== undefined && !POSITION.test(opened))
    throw new Error(`its method position returned ${JSON.stringify(opened)}, which is no position`);
  post({ opened, can: OPTIONAL.filter((name) => own[name] !== undefined) });
  for (let request = await requests.take(); request.op !== "close"; request = await requests.take()) {
    // What was requested before the thread was told to close would only delay that.
    if (isClosing) continue;
    if (isBetween && BETWEEN_SEQUENCES.has(request.op)) post({ answer: false });
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
    case "capture":
      if (request.purge) await own.purge?.();
      await capture(own, request.dir);
      return undefined;
    case "purge":
      await own.purge?.();
      return undefined;
    case "digest":
      return await own.digest?.();
    case "close":
      return undefined;
  }
}

/** Returns once batches may be applied again. That a copy fails says nothing about the index, unless it is damaged. */
async function capture(own: OwnIndex, dir: string): Promise<void> {
  try {
    const { copied }: Partial<IndexCapture> = (await own.capture?.(dir)) ?? {};
    if (typeof copied?.then !== "function")
      throw new Error("its method capture did not return {copied}, a promise that settles with the copy");
    void Promise.resolve(copied).then(() => post({ copied: undefined }), notCopied);
  } catch (error) {
    if (isCairnError(error, "INDEX_CORRUPT")) throw error;
    notCopied(error);
  }
}

function notCopied(error: unknown): void {
  post({ copied: sendError(error) });
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
  const sent = new Inbox<ReaderMessage>();
  const reader = READER.start({ dir, buckets } satisfies ReaderOrder, sent);
  reader.once("exit", () => sent.fail(READER.failure()));
  try {
    let documents = 0;
    for (;;) {
      const message = await sent.take();
      if (isClosing) return undefined;
      if ("failed" in message) throw receiveError(message.failed);
      const { batch } = message;
      await own.apply(batch);
      if (batch.complete) return batch.position;
      reader.postMessage(undefined, []);
      documents += batch.changes.filter(({ op }) => op === "put").length;
      post({ built: documents });
    }
  } finally {
    await reader.terminate();
  }
}
