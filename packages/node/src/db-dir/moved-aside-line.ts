import type { Logger } from "pino";
import type { MovedAside } from "./index-directory.ts";

/** Tells in the node's log that an index was moved aside, and what there is to do; `orphans`: only such indexes know them. */
export function tellMovedAside(logger: Logger, { path, code, message }: MovedAside, orphans: number): void {
  const hint =
    orphans === 0
      ? "The node builds its index anew, out of a checkpoint and the log."
      : "`cairn log orphans` prints the transactions that only indexes in quarantine know, for `cairn load`.";
  logger.warn({ code, path, orphans, hint }, `The index was moved aside: ${message}`);
}
