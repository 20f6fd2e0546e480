import type { EvictionPlaces } from "../../api/node-api.ts";
import { formatTable } from "../terminal/columns.ts";
import {
  type AddCommand,
  describeNodeCommand,
  type NodeOptions,
  wholeNumber,
  withNode,
} from "../options/command-options.ts";
import { pages } from "../requests/documents.ts";
import { writeJson, writeLine, tell } from "../terminal/terminal.ts";

/** `cairn evictions`. */
export const addEvictions: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("evictions"),
    "Show what was evicted, newest first, and where its bytes may still be",
    ["cairn evictions", "cairn evictions --json"],
  )
    .option("--limit <count>", "at most so many", wholeNumber("--limit", 1), 100)
    .action(async ({ limit, ...options }: NodeOptions & { limit: number }) => {
      const found: EvictionPlaces[] = [];
      await withNode(terminal, options, async (node) => {
        const query = { limit: String(Math.min(limit, 1_000)) };
        for await (const { items } of pages(node, { path: "/api/v1/tx/evictions", query })) {
          found.push(...(items as EvictionPlaces[]).slice(0, limit - found.length));
          if (found.length >= limit) break;
        }
      });
      if (options.json === true) {
        for (const one of found) await writeJson(terminal.stdout, one);
        return;
      }
      if (found.length === 0) return tell(terminal, "Nothing was evicted.");
      const rows = found.map((one) => [
        String(one.txId),
        one.txTime,
        `${one.bucket} ${one.namespace}/${one.name}`,
        one.log === null ? "no" : `${one.log.firstTxId} to ${one.log.lastTxId}`,
        placesText(one.checkpoints),
      ]);
      const heading = ["TX", "TIME", "KEY", "IN THE LOG", "IN CHECKPOINTS"];
      await writeLine(terminal.stdout, formatTable(heading, rows, ["TX"]));
      return tell(terminal, LINGERING);
    });
};

const LINGERING =
  "Files of indexes, and of checkpoints saved after an eviction, keep the bytes until LevelDB compacts them (docs/policies.md).";

function placesText(checkpoints: EvictionPlaces["checkpoints"]): string {
  if (checkpoints === null) return "(the store does not answer)";
  return checkpoints.length === 0 ? "no" : checkpoints.join(", ");
}
