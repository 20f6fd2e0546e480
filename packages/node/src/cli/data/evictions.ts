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
import { writeJsonLines, writeLine, tell } from "../terminal/terminal.ts";

export const addEvictions: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("evictions"),
    "List evictions, newest first, and where the evicted bytes may still be stored",
    ["cairn evictions", "cairn evictions --json"],
  )
    .option("--limit <count>", "print at most this many evictions", wholeNumber("--limit", 1), 100)
    .action(async ({ limit, ...options }: NodeOptions & { limit: number }) => {
      const found: EvictionPlaces[] = [];
      await withNode(terminal, options, async (node) => {
        const request = { path: "/api/v1/tx/evictions" };
        for await (const { items } of pages<EvictionPlaces>(node, request, limit)) found.push(...items);
      });
      if (options.json === true) return writeJsonLines(terminal.stdout, found);
      if (found.length === 0) return tell(terminal, "Nothing was evicted.");
      const isBackedUp = found.some(({ segments }) => segments === null || segments.length > 0);
      const rows = found.map((one) => [
        String(one.txId),
        one.txTime,
        `${one.bucket} ${one.namespace}/${one.name}`,
        one.log === null ? "no" : `${one.log.firstTxId} to ${one.log.lastTxId}`,
        one.files.goneSince === null ? "yes" : `no, since ${one.files.goneSince}`,
        checkpointsText(one),
        one.firstWithout ?? "none yet",
        ...(isBackedUp ? [segmentsText(one)] : []),
      ]);
      const heading = ["TX", "TIME", "KEY", "IN THE LOG", "IN THE INDEX", "IN CHECKPOINTS", "FIRST WITHOUT"];
      if (isBackedUp) heading.push("IN THE LOG BACKUP");
      await writeLine(terminal.stdout, formatTable(heading, rows, ["TX"], terminal.stdout));
      const waits = new Set(found.map(({ files }) => files.waitsFor));
      for (const [waitsFor, sentence] of WAITING) if (waits.has(waitsFor)) await tell(terminal, sentence);
      return undefined;
    });
};

/** For each reason why evicted bytes are still in the index's files, a sentence about when they will be removed. */
const WAITING: readonly (readonly [EvictionPlaces["files"]["waitsFor"], string])[] = [
  [
    "compaction",
    "The node rewrites the files of its index soon after an eviction, and before its next checkpoint.",
  ],
  [
    "reads",
    "Reads that began before the eviction still use files of the index, which are rewritten once the reads have ended.",
  ],
  ["restart", "Restart the node: LevelDB's list of files still contains a value of an indexed field."],
  [
    "unknown",
    "The key-value store of this node cannot determine whether its files still hold the evicted bytes.",
  ],
];

function segmentsText({ txId, segments, segmentsUntil }: EvictionPlaces): string {
  if (segments === null) return "(the store does not respond)";
  if (segments.length === 0) return "no";
  return `${segments.join(", ")} until ${segmentsUntil ?? `cairn log backup prune --through ${txId}`}`;
}

function checkpointsText({ checkpoints, inFilesOf }: EvictionPlaces): string {
  if (checkpoints === null || inFilesOf === null) return "(the store does not respond)";
  const all = [...inFilesOf, ...checkpoints];
  return all.length === 0 ? "no" : all.join(", ");
}
