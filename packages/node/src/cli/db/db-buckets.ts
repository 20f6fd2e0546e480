import type { KvReader } from "@cairn/kv";
import { prefixEnd, ROW } from "../../index/rows/row-keys.ts";
import { decodeCounters } from "../../index/rows/row-values.ts";
import { formatTable } from "../terminal/columns.ts";
import type { AddCommand } from "../options/command-options.ts";
import type { DbOptions } from "./db-copy.ts";
import { describeDbCommand, withIndex } from "./db-reader.ts";
import { formatCount } from "../../text/quantities.ts";
import { writeJsonLines, writeLine } from "../terminal/terminal.ts";

interface Bucket {
  readonly bucket: string;
  readonly documents: number;
  /** The number of keys whose last write was a deletion. */
  readonly deleted: number;
}

export const addDbBuckets: AddCommand = (parent, terminal) => {
  describeDbCommand(
    parent.command("buckets [place]"),
    "List the buckets with the number of documents in each",
    ["cairn db buckets ./cairn-data/node-1-index"],
  ).action(async (place: string | undefined, options: DbOptions) => {
    await withIndex(place, options, terminal, async ({ reader }) => {
      const buckets = await readBuckets(reader);
      if (options.json === true) return writeJsonLines(terminal.stdout, buckets);
      const rows = buckets.map(({ bucket, documents, deleted }) => [
        bucket,
        formatCount(documents),
        formatCount(deleted),
      ]);
      const heading = ["BUCKET", "DOCUMENTS", "DELETED"];
      await writeLine(terminal.stdout, formatTable(heading, rows, ["DOCUMENTS", "DELETED"], terminal.stdout));
    });
  });
};

async function readBuckets(reader: KvReader): Promise<Bucket[]> {
  const gte = Buffer.from([ROW.counter]);
  const buckets: Bucket[] = [];
  for await (const rows of reader.range({ gte, lt: prefixEnd(gte) })) {
    for (const [key, value] of rows) {
      const { documents, tombstones: deleted } = decodeCounters(key, value);
      if (documents === 0 && deleted === 0) continue;
      buckets.push({ bucket: Buffer.from(key.subarray(1)).toString("utf8"), documents, deleted });
    }
  }
  return buckets;
}
