import type { ServerResponse } from "node:http";
import { CairnError } from "@cairn/kv";
import { formatCount } from "@cairn/text";

export const MORE_FILES =
  "Use another node, or raise the limit on open files (LimitNOFILE of systemd, ulimit -n) and restart this node.";

/**
 * Limits responses that never end to a part of the connections, so that some are always left for other requests. The
 * function that it returns counts a response until it ends. It throws `OVERLOADED` if there are too many.
 */
export function openStreams(
  max: number,
  onRefused: (problem: CairnError) => void,
): (response: ServerResponse) => void {
  let open = 0;
  return (response) => {
    if (open >= max) {
      const message = `All watches that this node's limit on open files allows are open (${formatCount(max)}).`;
      const problem = new CairnError("OVERLOADED", message, MORE_FILES);
      onRefused(problem);
      throw problem;
    }
    // Its connection has ended, and the response will not report that again.
    if (response.destroyed || response.req.socket.destroyed) return;
    open += 1;
    response.once("close", () => (open -= 1));
  };
}
