import { MessageChannel, type MessagePort, type Worker } from "node:worker_threads";
import { Inbox } from "./inbox.ts";
import { wait } from "./timer.ts";
import type { ThreadModule } from "./worker-thread.ts";

/** The `workerData` of a thread of a pair: its start data, and its end of the channel between the two. */
export type Paired<Order> = Order & { readonly peer: MessagePort };

/** Two threads that work together. The calling thread communicates with the first one. */
export interface ThreadPair<Message> {
  readonly worker: Worker;
  /** The messages of the first thread. Fails with the error that ended either thread, as {@link ThreadModule} does. */
  readonly sent: Inbox<Message>;
  /**
   * Terminates both threads, and waits until they have exited. Once `signal` is aborted, waits only a second longer: a
   * thread cannot be interrupted in a system call, which may never return if a volume hangs. Such a thread does nothing
   * more once its call has returned.
   */
  terminate(signal?: AbortSignal): Promise<void>;
}

/** How long an exit is awaited after an abort (ms). A thread that is not in a system call exits within milliseconds. */
const EXIT_WHEN_ABORTED_MS = 1_000;

/**
 * Starts two threads of a module, each with its order and one end of a channel between them. Both start at the same
 * time. Starting a thread takes a tenth of a second; starting both would take twice as long if one started the other.
 */
export function startThreadPair<Message>(
  module: ThreadModule,
  first: object,
  second: object,
): ThreadPair<Message> {
  const { port1, port2 } = new MessageChannel();
  const sent = new Inbox<Message>();
  const start = (order: object, peer: MessagePort): Worker => module.start({ ...order, peer }, sent, [peer]);
  const worker = start(first, port1);
  let other: Worker;
  try {
    other = start(second, port2);
  } catch (error) {
    // The first thread would wait for the second forever.
    void worker.terminate();
    throw error;
  }
  // When one thread ends, the other follows, and the other's exit event may come first. A thread's error event precedes
  // its exit event. Thus, if both have exited, neither had an error.
  const endBoth = async (): Promise<void> => {
    await Promise.all([worker.terminate(), other.terminate()]);
  };
  for (const one of [worker, other]) {
    one.on("exit", () => void endBoth().then(() => sent.fail(module.failure())));
  }
  return { worker, sent, terminate: (signal) => untilLate(endBoth(), signal) };
}

/** Waits for `ended`. Once `signal` is aborted, waits only {@link EXIT_WHEN_ABORTED_MS} longer. */
async function untilLate(ended: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return ended;
  const over = new AbortController();
  const late = async (): Promise<void> => {
    await wait(Number.POSITIVE_INFINITY, AbortSignal.any([signal, over.signal]));
    await wait(EXIT_WHEN_ABORTED_MS, over.signal);
  };
  await Promise.race([ended, late()]);
  over.abort();
}
