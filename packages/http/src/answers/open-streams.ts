import type { ServerResponse } from "node:http";
import { CairnError } from "@cairn/kv";
import { formatCount } from "@cairn/text";

export const MORE_FILES =
  "Use another node, or raise the limit on open files (LimitNOFILE of systemd, ulimit -n) and restart this node.";

/** Limits responses that never end to a part of the connections, so that some are always left for other requests. */
export class OpenStreams {
  #open = 0;
  readonly #max: number;
  readonly #onRefused: (problem: CairnError) => void;

  constructor(max: number, onRefused: (problem: CairnError) => void) {
    this.#max = max;
    this.#onRefused = onRefused;
  }

  /** Counts a response until it ends. Throws `OVERLOADED` if there are too many. */
  begin(response: ServerResponse): void {
    if (this.#open >= this.#max) {
      const message = `All watches that this node's limit on open files allows are open (${formatCount(this.#max)}).`;
      const problem = new CairnError("OVERLOADED", message, MORE_FILES);
      this.#onRefused(problem);
      throw problem;
    }
    // Its connection has ended, and the response will not report that again.
    if (response.destroyed || response.req.socket.destroyed) return;
    this.#open += 1;
    response.once("close", () => (this.#open -= 1));
  }
}
