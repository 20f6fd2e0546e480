import { Ended, type Subject } from "./flip-subject.ts";

/** A supervisor starts a node again that ended; one that ends at every start is lost. */
const MOST_ENDINGS = 3;

/** A node that is started again where LevelDB ended its process: that is no wrong answer yet. */
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

  /** Ends it in order; nothing where it does not run. */
  async stop(): Promise<void> {
    const subject = this.#subject;
    this.#subject = undefined;
    await subject?.stop().catch((error: unknown) => {
      if (!(error instanceof Ended)) throw error;
    });
  }

  /** Does `work` with the node; from the beginning, with a node started anew, where it ended meanwhile. */
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
