import type { BucketSummary } from "../../index/read/bucket-reads.ts";
import {
  type AddCommand,
  describeReadCommand,
  type ReadCommandOptions,
  readQuery,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { pages, pathOfBucket } from "../requests/documents.ts";
import { ExportWriter } from "../requests/export-lines.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { showProgress } from "../terminal/progress-display.ts";
import { formatCount, formatNumberOf } from "../../text/quantities.ts";
import { tell, type Terminal, write, writeJson, writeLine } from "../terminal/terminal.ts";
import { PageSize } from "./page-size.ts";

interface ExportOptions extends ReadCommandOptions {
  readonly bucket?: string;
  readonly asOf?: string;
  readonly digest?: boolean;
}

export const addExport: AddCommand = (parent, terminal) => {
  describeReadCommand(
    parent.command("export"),
    "Print all documents as of one transaction, as NDJSON for cairn import and cairn load",
    ["cairn export > all.ndjson", "cairn export --bucket pods --as-of 2026-11-20T06:12:26Z > pods.ndjson"],
  )
    .option("--bucket <bucket>", "export only this bucket")
    .option("--as-of <tx-or-time>", "export the documents as of a transaction or a time")
    .option("--digest", "print only the digest of the export")
    .action(async (options: ExportOptions) => {
      await withNode(terminal, options, async (node) => {
        const plan = await planExport(node, options);
        const writer = new ExportWriter();
        await writeDocuments(node, plan, writer, {
          terminal,
          print: async (text) => {
            if (options.digest !== true) await write(terminal.stdout, text);
          },
        });
        const { documents, digest } = writer.summary;
        if (options.digest !== true) {
          return await tell(
            terminal,
            `exported ${formatNumberOf(documents, "document")} as of transaction ${formatCount(plan.txId)}, digest ${digest}`,
          );
        }
        return options.json === true
          ? await writeJson(terminal.stdout, { txId: plan.txId, documents, digest })
          : await writeLine(terminal.stdout, digest);
      });
    });
};

interface ExportPlan {
  readonly txId: number;
  readonly bucket: string | null;
  readonly buckets: readonly BucketSummary[];
}

/**
 * Determines the transaction and the buckets. A node lists a bucket even after its last document was deleted, so the
 * buckets at the transaction, or at any later one, contain every document as of the transaction.
 */
async function planExport(node: NodeClient, options: ExportOptions): Promise<ExportPlan> {
  const path = "/api/v1/buckets";
  const { bucket = null, asOf } = options;
  const now = await node.send({ path, query: readQuery(options) });
  const listed = now.body as BucketSummary[];
  let txId = Number(now.headers.get("cairn-tx"));
  let buckets = listed;
  if (asOf !== undefined) {
    const any = bucket ?? listed[0]?.name ?? "documents";
    const past = await node.send({ path: pathOfBucket(any), query: { limit: 1, "as-of": asOf } });
    txId = Number(past.headers.get("cairn-tx"));
    buckets = (await node.json({ path, query: { "min-tx": txId } })) as BucketSummary[];
  }
  if (bucket === null) return { txId, bucket, buckets };
  pathOfBucket(bucket);
  return { txId, bucket, buckets: buckets.filter(({ name }) => name === bucket) };
}

interface ListedKey {
  readonly namespace: string;
  readonly name: string;
  readonly document: unknown;
}

async function writeDocuments(
  node: NodeClient,
  { txId, bucket, buckets }: ExportPlan,
  writer: ExportWriter,
  { terminal, print }: { terminal: Terminal; print: (text: string) => Promise<void> },
): Promise<void> {
  const total = buckets.reduce((sum, { documents }) => sum + documents, 0);
  const display = showProgress(terminal.stderr, "exporting", total, Date.now, formatCount);
  const size = new PageSize();
  try {
    await print(writer.first({ format: 1, txId, bucket }));
    for (const { name } of buckets) {
      const request = { path: pathOfBucket(name), query: { "as-of": txId } };
      for await (const { items } of pages<ListedKey>(node, request, Infinity, () => size.items)) {
        const text = items
          .map(({ namespace, name: key, document }) => writer.line(name, `${namespace}/${key}`, document))
          .join("");
        size.received(items.length, text.length);
        if (text !== "") await print(text);
        display.update(writer.summary.documents, name);
      }
    }
    await print(writer.last());
  } finally {
    display.stop();
  }
}
