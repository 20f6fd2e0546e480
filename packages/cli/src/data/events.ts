import type { EvictionPlaces, RecordedEvent } from "@cairn/engine";
import { milliseconds } from "@cairn/text";
import { command } from "../options/command.ts";
import { NODE_OPTIONS, openNode, READ_OPTIONS, readNode } from "../options/node-address.ts";
import { countValue, textValue } from "../options/option-specs.ts";
import { pages } from "../requests/documents.ts";
import { type Column, shorten } from "../terminal/columns.ts";
import { writeJsonLines } from "../terminal/terminal.ts";

export const addEvents = command({
  syntax: "events",
  description: "List recorded events, newest first",
  examples: ["cairn events --limit 20", "cairn events --object pod/web-0 --json"],
  options: {
    ...READ_OPTIONS,
    limit: countValue("<count>", "print at most this many events, up to 1,000", 100),
    bucket: textValue("<bucket>", "print only events about objects in this bucket"),
    object: textValue("<object>", "print only events about this object"),
    before: textValue(
      "<id-or-time>",
      "print only events older than this: the id of an event, or nanoseconds since 1970",
    ),
  },
  async act(run) {
    const { limit, bucket, object, before } = run.options;
    const events = await readNode<RecordedEvent[]>(run, "/api/v1/events", { limit, bucket, object, before });
    await run.list(events, [
      ["TIME", timeText],
      ["REASON", ({ reason }) => reason],
      ["OBJECT", ({ object: what }) => what],
      ["MESSAGE", ({ message = "" }) => shorten(message)],
    ]);
  },
});

function timeText({ time }: RecordedEvent): string {
  const date = new Date(milliseconds(BigInt(time)));
  return Number.isNaN(date.getTime()) ? time : date.toISOString();
}

export const addEvictions = command({
  syntax: "evictions",
  description: "List evictions, newest first, and where the evicted bytes may still be stored",
  examples: ["cairn evictions", "cairn evictions --json"],
  options: { ...NODE_OPTIONS, limit: countValue("<count>", "print at most this many evictions", 100) },
  async act(run) {
    const found: EvictionPlaces[] = [];
    const request = { path: "/api/v1/tx/evictions" };
    for await (const { items } of pages<EvictionPlaces>(await openNode(run), request, run.options.limit))
      found.push(...items);
    if (run.json) return await writeJsonLines(run.terminal.stdout, found);
    if (found.length === 0) return await run.tell("Nothing was evicted.");
    const columns: Column<EvictionPlaces>[] = [
      ["TX", ({ txId }) => String(txId), "right"],
      ["TIME", ({ txTime }) => txTime],
      ["KEY", ({ bucket, namespace, name }) => `${bucket} ${namespace}/${name}`],
      ["IN THE LOG", ({ log }) => (log === null ? "no" : `${log.firstTxId} to ${log.lastTxId}`)],
      ["IN THE INDEX", ({ files: { goneSince } }) => (goneSince === null ? "yes" : `no, since ${goneSince}`)],
      ["IN CHECKPOINTS", checkpointsText],
      ["FIRST WITHOUT", ({ firstWithout }) => firstWithout ?? "none yet"],
    ];
    if (found.some(({ segments }) => segments === null || segments.length > 0))
      columns.push(["IN THE LOG BACKUP", segmentsText]);
    await run.line(run.table(columns, found));
    const waits = new Set(found.map(({ files }) => files.waitsFor));
    for (const [waitsFor, sentence] of WAITING) if (waits.has(waitsFor)) await run.tell(sentence);
    // The newest eviction comes first, and its command removes the segments of earlier ones, too.
    const hint = found.find((one) => one.hint !== null)?.hint ?? null;
    if (hint !== null) await run.tell(hint);
  },
});

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
  [
    "own-index",
    "An index of the node's own still has to remove the evicted bytes from its files, which it does within seconds once it is live.",
  ],
  ["restart", "Restart the node: LevelDB's list of files still contains a value of an indexed field."],
  [
    "unknown",
    "The key-value store of this node cannot determine whether its files still hold the evicted bytes.",
  ],
];

function segmentsText({ segments, segmentsUntil }: EvictionPlaces): string {
  if (segments === null) return "(the store does not respond)";
  if (segments.length === 0) return "no";
  return `${segments.join(", ")} until ${segmentsUntil ?? "they are pruned"}`;
}

function checkpointsText({ checkpoints, inFilesOf }: EvictionPlaces): string {
  if (checkpoints === null || inFilesOf === null) return "(the store does not respond)";
  const all = [...inFilesOf, ...checkpoints];
  return all.length === 0 ? "no" : all.join(", ");
}
