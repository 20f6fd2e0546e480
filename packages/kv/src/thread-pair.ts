import { MessageChannel, type MessagePort, type Worker } from "node:worker_threads";
import { type Inbox, inboxOf, whenOver } from "./inbox.ts";
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
  const other = start(second, port2);
  const sent = inboxOf<Message>(worker, endedEarly);
  // Else the first would wait for it for ever.
  whenOver(other, endedEarly, (error) => sent.fail(error));
  return {
    worker,
    sent,
    async terminate() {
      await Promise.all([worker.terminate(), other.terminate()]);
    },
  };
}
