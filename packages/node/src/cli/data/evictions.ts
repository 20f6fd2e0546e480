import type { EvictionPlaces } from "../../api/node-api.ts";
import { formatTable } from "../terminal/columns.ts";
import {
  type AddCommand,
  describeNodeCommand,
  type NodeOptions,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
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
        one.files.goneSince === null ? "yes" : `no, since ${one.files.goneSince}`,
        checkpointsText(one),
        one.firstWithout ?? "none yet",
      ]);
      const heading = ["TX", "TIME", "KEY", "IN THE LOG", "IN THE INDEX", "IN CHECKPOINTS", "FIRST WITHOUT"];
      await writeLine(terminal.stdout, formatTable(heading, rows, ["TX"]));
      const waits = new Set(found.map(({ files }) => files.waitsFor));
      for (const [waitsFor, sentence] of WAITING) if (waits.has(waitsFor)) await tell(terminal, sentence);
      return undefined;
    });
};

/** Why what was evicted is still in the files of the node's index, and until when. */
const WAITING: readonly (readonly [EvictionPlaces["files"]["waitsFor"], string])[] = [
  ["compaction", "The node overwrites its own files soon after an eviction, and before its next checkpoint."],
  [
    "reads",
    "The files of the index are held by reads that began before; they are overwritten once those end.",
  ],
  ["restart", "A value of an indexed field still stands in LevelDB's list of files: restart the node."],
  ["unknown", "The key-value store of this node cannot tell whether its files still hold what was evicted."],
];

function checkpointsText({ checkpoints, inFilesOf }: EvictionPlaces): string {
  if (checkpoints === null || inFilesOf === null) return "(the store does not answer)";
  const all = [...inFilesOf, ...checkpoints];
  return all.length === 0 ? "no" : all.join(", ");
}
