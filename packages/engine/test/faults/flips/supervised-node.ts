import { Ended, type Subject } from "./flip-subject.ts";

/**
 * The maximum number of times that a supervisor restarts a node that has ended. A node that ends at every start is
 * lost.
 */
const MOST_ENDINGS = 3;

/** A node that is restarted if LevelDB ends its process, because this alone does not count as a wrong response. */
export class SupervisedNode {
  readonly #startNode: () => Promise<Subject>;
  readonly #onEnded: (ended: Ended) => void;
  #subject: Subject | undefined;
  #endings = 0;

  constructor(startNode: () => Promise<Subject>, onEnded: (ended: Ended) => void) {
    this.#startNode = startNode;
    this.#onEnded = onEnded;
  }

  async start(): Promise<void> {
    this.#subject = undefined;
    while (this.#subject === undefined) {
      try {
        this.#subject = await this.#startNode();
      } catch (error) {
        this.#noteEnd(error);
      }
    }
  }

  /** Shuts the node down cleanly if it runs. */
  async stop(): Promise<void> {
    const subject = this.#subject;
    this.#subject = undefined;
    await subject?.stop().catch((error: unknown) => {
      if (!(error instanceof Ended)) throw error;
    });
  }

  /** Runs `work` with the node. If the node ends in the meantime, restarts it and runs `work` again. */
  async with<T>(work: (subject: Subject) => Promise<T>): Promise<T> {
    for (;;) {
      if (this.#subject === undefined) throw new Error("There is no node to ask.");
      try {
        return await work(this.#subject);
      } catch (error) {
        this.#noteEnd(error);
        await this.start();
      }
    }
  }

  #noteEnd(error: unknown): void {
    if (!(error instanceof Ended)) throw error;
    this.#endings += 1;
    this.#onEnded(error);
    if (this.#endings > MOST_ENDINGS) throw new Error("The process ends again and again.", { cause: error });
  }
}
