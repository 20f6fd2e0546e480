import type { BucketSummary, ClientDocument } from "@cairn/client";
import { formatCount, formatNumberOf } from "@cairn/text";
import { command } from "../options/command.ts";
import { openNode, READ_OPTIONS, readQuery, type NodeReadOptions } from "../options/node-address.ts";
import { flag, textValue } from "../options/option-specs.ts";
import { pages, pathOfBucket } from "../requests/documents.ts";
import { ExportWriter } from "../requests/export-lines.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { write } from "../terminal/terminal.ts";
import { PageSize } from "./page-size.ts";

export const addExport = command({
  syntax: "export",
  description: "Print all documents as of one transaction, as NDJSON for cairn import and cairn load",
  examples: [
    "cairn export > all.ndjson",
    "cairn export --bucket pods --as-of 2026-11-20T06:12:26Z > pods.ndjson",
  ],
  options: {
    ...READ_OPTIONS,
    bucket: textValue("<bucket>", "export only this bucket"),
    asOf: textValue("<tx-or-time>", "export the documents as of a transaction or a time"),
    digest: flag("print only the digest of the export"),
  },
  async act(run) {
    const node = await openNode(run);
    const { bucket = null } = run.options;
    const { txId, buckets } = await planExport(node, run.options);
    const writer = new ExportWriter();
    const print = async (lines: string): Promise<void> => {
      if (!run.options.digest) await write(run.terminal.stdout, lines);
    };
    const total = buckets.reduce((sum, { documents }) => sum + documents, 0);
    const display = run.progress("exporting", total, formatCount);
    const size = new PageSize();
    await print(writer.first({ format: 1, txId, bucket }));
    for (const { name } of buckets) {
      const request = { path: pathOfBucket(name), query: { "as-of": txId } };
      for await (const { items } of pages<ClientDocument<unknown>>(
        node,
        request,
        Infinity,
        () => size.items,
      )) {
        const lines = items
          .map(({ namespace, name: key, document }) => writer.line(name, `${namespace}/${key}`, document))
          .join("");
        size.received(items.length, lines.length);
        if (lines !== "") await print(lines);
        display.update(writer.summary.documents, name);
      }
    }
    await print(writer.last());
    display.stop();
    const { documents, digest } = writer.summary;
    if (run.options.digest) return await run.answer({ txId, documents, digest }, digest);
    const what = `${formatNumberOf(documents, "document")} as of transaction ${formatCount(txId)}`;
    return await run.tell(`exported ${what}, digest ${digest}`);
  },
});

/** Determines the transaction and the buckets. Emptied buckets stay listed, so a list as of it or later is complete. */
async function planExport(
  node: NodeClient,
  { bucket, asOf, ...options }: NodeReadOptions & Record<"bucket" | "asOf", string | undefined>,
) {
  const path = "/api/v1/buckets";
  const now = await node.send({ path, query: readQuery(options) });
  let buckets = now.body as BucketSummary[];
  let txId = Number(now.headers.get("cairn-tx"));
  if (asOf !== undefined) {
    const any = bucket ?? buckets[0]?.name ?? "documents";
    const past = await node.send({ path: pathOfBucket(any), query: { limit: 1, "as-of": asOf } });
    txId = Number(past.headers.get("cairn-tx"));
    buckets = await node.json<BucketSummary[]>({ path, query: { "min-tx": txId } });
  }
  if (bucket === undefined) return { txId, buckets };
  pathOfBucket(bucket);
  return { txId, buckets: buckets.filter(({ name }) => name === bucket) };
}
