import { CairnError } from "@cairn/kv";
import type { Command } from "commander";
import { describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { showProgress } from "../terminal/progress-display.ts";
import { formatCount, formatNumberOf } from "../../text/quantities.ts";
import { tell, type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";
import { DEFAULT_NAMESPACE } from "../../text/document-key.ts";
import { documentOf, type OtherValues } from "./document-value.ts";
import {
  type ImportRecord,
  type ImportSource,
  isRefusal,
  type KeyValue,
  type KeyValueSource,
} from "./import-record.ts";
import { importRecords, type ImportProgress } from "./import-records.ts";
import { parseKeyPattern, type Placement, placeOfKey } from "./placement.ts";
import { defaultReport, RefusedReport } from "./refused-report.ts";
import { UsageError } from "../terminal/report-error.ts";

export interface ImportOptions extends NodeOptions {
  readonly bucket?: string;
  readonly namespace: string;
  readonly keyPattern?: RegExp;
  readonly report?: string;
}

export interface KeyValueOptions extends ImportOptions {
  readonly prefix: string;
  readonly otherValues: OtherValues;
}

export function describeImport(command: Command, description: string, examples: readonly string[]): Command {
  return describeNodeCommand(command, description, examples)
    .option("--bucket <bucket>", "the bucket of the documents")
    .option("--namespace <namespace>", "the namespace of the documents", DEFAULT_NAMESPACE)
    .option(
      "--key-pattern <regexp>",
      "take the document's key from the groups name, namespace and bucket of this regular expression",
      parseKeyPattern,
    )
    .option("--report <file>", "where to write which records were not imported (default: a new file)");
}

export function describeKeyValueImport(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return describeImport(command, description, examples)
    .option("--prefix <prefix>", "import only keys that begin with this prefix", "")
    .option(
      "--other-values <how>",
      "what to do with values that are not JSON: wrap them in an object, or refuse them",
      parseOtherValues,
      "wrap" as const,
    );
}

function parseOtherValues(text: string): OtherValues {
  if (text === "wrap" || text === "refuse") return text;
  throw new UsageError(`--other-values must be wrap or refuse, not ${JSON.stringify(text)}.`);
}

/** Returns how keys become addresses. `bucket` is the default bucket. */
export function placementOf({ bucket, namespace, keyPattern }: ImportOptions, fallback: string): Placement {
  return { bucket: bucket ?? fallback, namespace, pattern: keyPattern };
}

export function keyValueRecords(
  source: KeyValueSource,
  placement: Placement,
  { otherValues }: Pick<KeyValueOptions, "otherValues">,
): ImportSource {
  return {
    total: source.total,
    close: source.close,
    records: (async function* () {
      for await (const page of source.pairs) {
        yield page.map((pair) => ({
          sourceKey: keyText(pair.key),
          expires: pair.expires,
          result: resultOf(pair, placement, otherValues),
        }));
      }
    })(),
  };
}

function resultOf(
  { key, value }: KeyValue,
  placement: Placement,
  others: OtherValues,
): ImportRecord["result"] {
  const place = placeOfKey(key, placement);
  if (isRefusal(place)) return place;
  const document = Buffer.isBuffer(value) ? documentOf(value, others) : value;
  return isRefusal(document) ? document : { ...place, json: document.json };
}

function keyText(key: Buffer): ImportRecord["sourceKey"] {
  const text = key.toString("utf8");
  return Buffer.from(text).equals(key) ? text : { base64: key.toString("base64") };
}

/** Throws `IMPORT_INCOMPLETE` at the end if records were refused. */
export async function runImport(
  terminal: Terminal,
  options: ImportOptions,
  open: () => Promise<ImportSource>,
): Promise<void> {
  const begun = performance.now();
  const report = new RefusedReport(options.report ?? defaultReport(new Date()), terminal.cwd);
  const progress = await withNode(terminal, options, async (node) => {
    // A node that cannot be reached is reported before the source is read.
    await node.json({ path: "/api/v1/buckets" });
    const source = await open();
    try {
      return await transfer(node, source, report, terminal);
    } finally {
      await source.close();
      await report.close();
    }
  });
  await writeSummary(terminal, progress, { report, options, seconds: (performance.now() - begun) / 1000 });
}

const REPEAT = "Run the command again: documents that are equal are not written again.";

async function transfer(
  node: NodeClient,
  source: ImportSource,
  report: RefusedReport,
  terminal: Terminal,
): Promise<ImportProgress> {
  const { signal, forget } = interruptible(terminal, "a part of the documents was imported", REPEAT);
  const display = showProgress(terminal.stderr, "importing", source.total, Date.now, formatCount);
  let waiting = false;
  try {
    const done = await importRecords(node, source.records, {
      signal,
      onProgress: ({ read, written }) => {
        waiting = false;
        display.update(read, `${formatCount(written)} written`);
      },
      onRetry: (error) => {
        if (!waiting) terminal.stderr.write(`${error.code}: ${error.message} Retrying.\n`);
        waiting = true;
      },
      onRefused: (record, refusal) => report.add(record, refusal),
    });
    signal.throwIfAborted();
    return done;
  } finally {
    display.stop();
    forget();
  }
}

async function writeSummary(
  terminal: Terminal,
  { read, written, unchanged, expiring, lastTxId }: ImportProgress,
  { report, options, seconds }: { report: RefusedReport; options: ImportOptions; seconds: number },
): Promise<void> {
  const { refused } = report;
  if (options.json === true) {
    await writeJson(terminal.stdout, {
      records: read,
      written,
      unchanged,
      refused,
      report: refused === 0 ? null : report.path,
      seconds,
      lastTxId: lastTxId ?? null,
    });
  } else {
    const rate = formatCount(read / Math.max(seconds, 0.001));
    await writeLine(
      terminal.stdout,
      `imported ${formatNumberOf(read - refused, "document")} in ${seconds.toFixed(seconds < 10 ? 1 : 0)} s (${rate}/s): ${formatCount(written)} written, ${formatCount(unchanged)} equal already`,
    );
  }
  if (expiring > 0) {
    await tell(
      terminal,
      `notice: ${formatCount(expiring)} of these expire in the source, but not in Cairn, unless a policy says so.`,
    );
  }
  if (refused === 0) return;
  throw new CairnError(
    "IMPORT_INCOMPLETE",
    `${formatCount(refused)} of ${formatNumberOf(read, "record")} ${refused === 1 ? "was" : "were"} not imported.`,
    {
      hint: `Read ${report.path}, which names each of them with the reason. Correct them in the source, or change the options, and run the command again: documents that are equal are not written again.`,
    },
  );
}
