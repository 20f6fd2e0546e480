import { MessageChannel, type MessagePort, type Worker } from "node:worker_threads";
import { Inbox } from "./inbox.ts";
import { startWorker } from "./worker-thread.ts";

/** The module of a thread, as {@link startWorker} takes it, and what the thread is started with. */
export interface ThreadStart {
  readonly name: string;
  readonly order: object;
}

/** What a thread of a pair finds as its `workerData`: its order, and its end of the channel between the two. */
export type Paired<Order> = Order & { readonly peer: MessagePort };

/** Two threads that work together, of which this one speaks with the first. */
export interface ThreadPair<Message> {
  readonly worker: Worker;
  /** All that the first sends; it fails with what ended either. */
  readonly sent: Inbox<Message>;
  /** Ends both; neither does anything any more afterwards. */
  terminate(): Promise<void>;
}

/**
 * Starts two threads, each with an end of a channel between them. At once: a thread takes a tenth of a second to begin, and one that
 * started the other would have it wait for twice that.
 */
export function startThreadPair<Message>(
  beside: string,
  first: ThreadStart,
  second: ThreadStart,
  endedEarly: () => Error,
): ThreadPair<Message> {
  const { port1, port2 } = new MessageChannel();
  const start = ({ name, order }: ThreadStart, peer: MessagePort): Worker =>
    startWorker(beside, name, { ...order, peer }, [peer]);
  const worker = start(first, port1);
  const sent = new Inbox<Message>();
  worker.on("message", (message: Message) => sent.put(message));
  worker.on("error", (error) => sent.fail(error));
  let other: Worker;
  try {
    other = start(second, port2);
  } catch (error) {
    // No thread is to be had any more: the first would wait for the second for ever.
    void worker.terminate();
    throw error;
  }
  other.on("error", (error) => sent.fail(error));
  // When one ends the other soon does, and may be heard of first. What ended a thread is told before its end: once both are at theirs,
  // nobody said why.
  const endBoth = async (): Promise<void> => {
    await Promise.all([worker.terminate(), other.terminate()]);
  };
  for (const one of [worker, other]) {
    one.on("exit", () => void endBoth().then(() => sent.fail(endedEarly())));
  }
  return { worker, sent, terminate: endBoth };
}
