import { CairnError } from "@cairn/kv";
import { asCairnError } from "./as-cairn-error.ts";
import type { NodeEvent, NodeEventListener, Work, WorkCost, WorkEnds, WorkResults } from "./node-event.ts";

/** A work under way. Only the first of its two ends counts. */
export interface WorkRun<W extends Work> {
  /** How many bytes it has moved so far; an end that says nothing else has them. */
  moved(bytes: number): void;
  ended(result: WorkResults[W]): void;
  failed(error: unknown): void;
}

/** Hands a node's events to those who listen. A listener that throws is told of to `onListenerError`, and to nobody else. */
export class NodeEvents {
  readonly #listeners: NodeEventListener[] = [];
  readonly #onListenerError: (error: unknown) => void;
  readonly #told = new WeakSet<object>();
  #runs = 0;

  constructor(onListenerError: (error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  listen(listener: NodeEventListener): void {
    this.#listeners.push(listener);
  }

  /** Whether an error was told as the failure of a work already. */
  hasTold(error: unknown): boolean {
    return typeof error === "object" && error !== null && this.#told.has(error);
  }

  /** Tells that a work has begun; the caller ends it. */
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
        // The compiler does not follow that W names the same work in all its parts.
        end(() => ({ work, stage: "ended", run, at: now(), ...cost(), ...result }) as unknown as WorkEnds[W]),
      failed: (error) => {
        if (typeof error === "object" && error !== null) this.#told.add(error);
        end(() => ({ work, stage: "failed", run, at: now(), ...cost(), error: asWorkError(error) }));
      },
    };
  }

  /** Tells the begin and the end of what `body` does: it calls `ended`, or throws, and then it has failed. */
  async observe<W extends Work, T>(work: W, body: (run: WorkRun<W>) => Promise<T>): Promise<T> {
    const run = this.begin(work);
    try {
      const answer = await body(run);
      // Counts only where the body did not end it, which is a fault of the body.
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
        // An async function fits the type too, and its rejection would end the process.
        const answer: unknown = listener(event);
        if (answer instanceof Promise) answer.catch(this.#onListenerError);
      } catch (error) {
        this.#onListenerError(error);
      }
    }
  }
}

/** A work is aborted by nobody but a node that stops, or joins anew. */
function asWorkError(error: unknown): CairnError {
  if (!(error instanceof DOMException) || error.name !== "AbortError") return asCairnError(error);
  return new CairnError("NOT_READY", "The node stopped, or left its index, before it was done.", {
    hint: "It is done again when the node is ready.",
    cause: error,
  });
}

function now(): string {
  return new Date().toISOString();
}
