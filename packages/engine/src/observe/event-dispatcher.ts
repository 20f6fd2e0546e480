import { CairnError } from "@cairn/kv";
import { asCairnError } from "./failures.ts";
import type { NodeEvent, NodeEventListener, Work, WorkCost, WorkEnds, WorkResults } from "./node-event.ts";

/** A task in progress. Only the first call of `ended` or `failed` counts. */
export interface WorkRun<W extends Work> {
  /** Sets the number of bytes that the task has moved so far. The event that ends the task contains the last value. */
  moved(bytes: number): void;
  ended(result: WorkResults[W]): void;
  failed(error: unknown): void;
}

/** An error of a listener goes to `onListenerError`, and affects neither the task nor the other listeners. */
export class EventDispatcher {
  readonly #listeners: NodeEventListener[] = [];
  readonly #onListenerError: (error: unknown) => void;
  readonly #reported = new WeakSet<object>();
  #runs = 0;

  constructor(onListenerError: (error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  listen(listener: NodeEventListener): void {
    this.#listeners.push(listener);
  }

  hasReported(error: unknown): boolean {
    return typeof error === "object" && error !== null && this.#reported.has(error);
  }

  /** Reports that a task has begun. The caller must end the returned run. */
  begin<W extends Work>(work: W): WorkRun<W> {
    this.#runs += 1;
    const run = this.#runs;
    const begunAt = performance.now();
    let bytes = 0;
    let isOver = false;
    const cost = (): WorkCost => ({ durationMs: Math.round(performance.now() - begunAt), bytes });
    const end = (event: () => NodeEvent): void => {
      if (isOver) return;
      isOver = true;
      this.#emit(event());
    };
    this.#emit({ work, stage: "begun", run, at: now() });
    return {
      moved: (count) => {
        bytes = count;
      },
      ended: (result) =>
        // The compiler cannot see that W is the same in all parts of the type.
        end(() => ({ work, stage: "ended", run, at: now(), ...cost(), ...result }) as unknown as WorkEnds[W]),
      failed: (error) => {
        if (typeof error === "object" && error !== null) this.#reported.add(error);
        end(() => ({ work, stage: "failed", run, at: now(), ...cost(), error: asWorkError(error) }));
      },
    };
  }

  /** `body` calls `ended`, or throws if the task fails. */
  async observe<W extends Work, T>(work: W, body: (run: WorkRun<W>) => Promise<T>): Promise<T> {
    const run = this.begin(work);
    try {
      const answer = await body(run);
      // This has an effect only if the body did not end the run, which is a bug.
      run.failed(new Error(`a ${work} ended without a result`));
      return answer;
    } catch (error) {
      run.failed(error);
      throw error;
    }
  }

  #emit(event: NodeEvent): void {
    for (const listener of this.#listeners) {
      try {
        // An async function fits the type as well, and an unhandled rejection would end the process.
        const answer: unknown = listener(event);
        if (answer instanceof Promise) answer.catch(this.#onListenerError);
      } catch (error) {
        this.#onListenerError(error);
      }
    }
  }
}

/** Returns the error that made a task fail. Tasks are aborted only when the node stops or joins again. */
function asWorkError(error: unknown): CairnError {
  // An aborted signal throws a DOMException, and an aborted stream an error of Node's own.
  if (!(error instanceof Error) || error.name !== "AbortError") return asCairnError(error);
  return new CairnError("NOT_READY", "The node stopped or left its index before the work was done.", {
    hint: "Do nothing: the task is repeated when the node is ready.",
    cause: error,
  });
}

function now(): string {
  return new Date().toISOString();
}
