import { PageSize } from "./page-size.ts";
import { sourceUnreadable } from "./source-unreadable.ts";
import { appendFile } from "node:fs/promises";
import { resolve } from "node:path";
import { CairnError, systemErrorCode, systemErrorOf } from "@cairn/kv";
import { formatBytes, formatCount, formatNumberOf, bucketProblem, DEFAULT_NAMESPACE } from "@cairn/text";
import { command, commandGroup, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, type NodeOptions, openNode } from "../options/node-address.ts";
import { type OptionSpec, type OptionValues, parsedValue, textValue } from "../options/option-specs.ts";
import { NoAnswerError } from "../requests/node-client.ts";
import { pace } from "../requests/send-chunks.ts";
import { UsageError } from "../terminal/report-error.ts";
import {
  documentOf,
  type ImportRecord,
  type ImportSource,
  isRefusal,
  nameRefused,
  type KeyValue,
  type KeyValueSource,
  type OtherValues,
  parseKeyPattern,
  placeOfKey,
  stringOf,
} from "./import-record.ts";
import { importRecords, type ImportRecordsOptions } from "./import-records.ts";

const IMPORT_OPTIONS = {
  ...NODE_OPTIONS,
  bucket: textValue("<bucket>", "the bucket of the documents"),
  namespace: textValue("<namespace>", "the namespace of the documents", DEFAULT_NAMESPACE),
  keyPattern: parsedValue(
    "<regexp>",
    "take the document's key from the groups name, namespace and bucket of this regular expression",
    parseKeyPattern,
  ),
  report: textValue("<file>", "where to write which records were not imported (default: a new file)"),
};

const OTHER_VALUES: OptionSpec<OtherValues> = {
  value: "<how>",
  description: "what to do with values that are not JSON: wrap them in an object, or refuse them",
  choices: ["wrap", "refuse"],
  fallback: "wrap",
};

const KEY_VALUE_OPTIONS = {
  ...IMPORT_OPTIONS,
  prefix: textValue("<prefix>", "import only keys that begin with this prefix", ""),
  otherValues: OTHER_VALUES,
};

const addNdjson = command({
  syntax: "ndjson <file>",
  description:
    "Import documents from an NDJSON file (- for standard input): an export, or one document per line",
  examples: [
    "cairn import ndjson all.ndjson",
    "cairn import ndjson people.ndjson --key-member email --bucket people",
  ],
  options: {
    ...IMPORT_OPTIONS,
    keyMember: textValue("<member>", "each line is a document, and this member of it is its key"),
  },
  async act(run, file) {
    const { keyMember, bucket, namespace, keyPattern: pattern } = run.options;
    const isPlaced = bucket !== undefined || pattern !== undefined;
    if (keyMember === undefined && isPlaced)
      throw new UsageError(
        "--bucket and --key-pattern require --key-member: the lines of an export name their bucket.",
      );
    if (keyMember !== undefined && !isPlaced)
      throw new UsageError(
        "--key-member requires --bucket.",
        "Name the bucket of the documents with --bucket.",
      );
    const { openNdjsonSource } = await import("./ndjson-source.ts");
    const placement = { bucket: bucket ?? "", namespace, pattern };
    await runImport(run, () => openNdjsonSource(file, run.terminal, placement, keyMember));
  },
});

const addNatsKv = command({
  syntax: "nats-kv <servers> <kv-bucket>",
  description: "Import a key-value bucket of NATS",
  examples: ["cairn import nats-kv nats://127.0.0.1:4222 settings"],
  options: { ...KEY_VALUE_OPTIONS, credentialsFile: textValue("<file>", "a .creds file for NATS") },
  async act(run, servers, kvBucket) {
    const { prefix, credentialsFile, bucket = kvBucket, keyPattern } = run.options;
    const problem = bucketProblem(bucket);
    if (problem !== undefined && keyPattern === undefined)
      throw new UsageError(`Not a valid bucket name: ${problem}.`, "Name another bucket with --bucket.");
    const { openNatsKv } = await import("@cairn/log-nats");
    const source = { servers, credentialsFile, kvBucket, prefix };
    await importPairs(run, kvBucket, () =>
      openNatsKv({ ...source, page: new PageSize(), unreadable: sourceUnreadable }),
    );
  },
});

const addEtcd = command({
  syntax: "etcd <endpoint>",
  description: "Import the keys of etcd as of one revision (user and password: ETCDCTL_USER)",
  examples: ["cairn import etcd http://127.0.0.1:2379 --prefix /services/"],
  options: KEY_VALUE_OPTIONS,
  async act(run, endpoint) {
    const { openEtcd } = await import("./etcd-source.ts");
    const user = run.terminal.env["ETCDCTL_USER"] ?? "";
    await importPairs(run, "etcd", () => openEtcd(endpoint, user, run.options.prefix));
  },
});

export const addImport = commandGroup(
  "import",
  "Import documents from files and other stores; a repeated import writes only what differs",
  [addNdjson, addNatsKv, addEtcd],
);

/** Imports keys and values. `fallback` is the bucket if the options name none. */
async function importPairs(
  run: CommandRun<OptionValues<typeof KEY_VALUE_OPTIONS>>,
  fallback: string,
  openPairs: () => Promise<KeyValueSource>,
): Promise<void> {
  const { bucket = fallback, namespace, keyPattern: pattern, otherValues } = run.options;
  const placement = { bucket, namespace, pattern };
  const recordOf = ({ key, value, expires }: KeyValue): ImportRecord => {
    const place = placeOfKey(key, placement);
    const document = Buffer.isBuffer(value) ? documentOf(value, otherValues) : value;
    const result = isRefusal(place) ? place : isRefusal(document) ? document : { ...place, ...document };
    return { sourceKey: stringOf(key), expires, result };
  };
  await runImport(run, async () => {
    const { pairs, ...source } = await openPairs();
    const records = async function* (): AsyncGenerator<ImportRecord[]> {
      for await (const page of pairs) yield page.map(recordOf);
    };
    return { ...source, records: records() };
  });
}

const REPEAT = "Run the command again: documents that are equal are not written again.";

/** Throws `IMPORT_INCOMPLETE` at the end if records were refused. */
async function runImport(
  run: CommandRun<NodeOptions & { readonly report: string | undefined }>,
  openSource: () => Promise<ImportSource>,
): Promise<void> {
  const begun = performance.now();
  const { terminal, options } = run;
  const report =
    options.report ?? `cairn-import-refused-${new Date().toISOString().replaceAll(":", "-")}.ndjson`;
  const addToReport = refusedReport(report, terminal.cwd);
  let refused = 0;
  let firstRefused = "";
  const node = await openNode(run);
  // A node that cannot be reached is reported before the source is read.
  await node.json({ path: "/api/v1/buckets" });
  const source = await openSource();
  run.defer(source.close);
  const signal = run.interruptible("a part of the documents was imported", REPEAT);
  const { total, bytesRead } = source;
  const display = run.progress("importing", total, bytesRead === undefined ? formatCount : formatBytes);
  const progress = await importRecords(node, source.records, {
    signal,
    onProgress: ({ read, written }) => {
      const records = bytesRead === undefined ? "" : `${formatNumberOf(read, "record")}, `;
      display.update(bytesRead?.() ?? read, `${records}${formatCount(written)} written`);
    },
    onRetry: ({ code, message }) => void run.tell(`${code}: ${message} Retrying.`),
    onRefused: (record, refusal) => {
      refused += 1;
      if (refused === 1) firstRefused = nameRefused(record, refusal);
      return addToReport(record, refusal);
    },
  }).catch((error: unknown) => {
    if (!(error instanceof NoAnswerError)) throw error;
    const { code, message, hint } = error;
    throw new CairnError(code, message, { hint: `${REPEAT} ${hint}`, cause: error });
  });
  const { read, written, unchanged, expiring, lastTxId = null } = progress;
  run.throwIfInterrupted(
    `${formatNumberOf(written, "document")} ${written === 1 ? "was" : "were"} written, and ${formatCount(unchanged)} equal already`,
    REPEAT,
  );
  const seconds = (performance.now() - begun) / 1000;
  await run.answer(
    {
      records: read,
      written,
      unchanged,
      refused,
      report: refused === 0 ? null : report,
      seconds,
      lastTxId,
    },
    `imported ${formatNumberOf(read - refused, "document")} in ${pace(read - refused, seconds)}: ${formatCount(written)} written, ${formatCount(unchanged)} equal already`,
  );
  if (expiring > 0)
    await run.tell(
      `notice: ${formatCount(expiring)} of these expire in the source, but not in Cairn, unless a policy says so.`,
    );
  if (refused === 0) return;
  throw new CairnError(
    "IMPORT_INCOMPLETE",
    `${formatCount(refused)} of ${formatNumberOf(read, "record")} ${refused === 1 ? "was" : "were"} not imported; the first one is ${firstRefused}`,
    `Read ${report}, which names each of them with the reason. Correct them in the source, or change the options, and run the command again: documents that are equal are not written again.`,
  );
}

/** Returns a function that reports refused records in a new file: never overwrites, as `path` may be the source. */
function refusedReport(path: string, cwd: string): ImportRecordsOptions["onRefused"] {
  const file = resolve(cwd, path);
  let written: Promise<void> | undefined;
  const append = async (line: string, flag: "wx" | "a"): Promise<void> => {
    try {
      await appendFile(file, line, { flag });
    } catch (error) {
      const code = systemErrorCode(error);
      const system = systemErrorOf(error);
      if (system?.meaning === "full")
        throw new CairnError("DISK_FULL", `The report ${path} cannot be written: ${system.what} (${code}).`, {
          hint: `${system.hint ?? "Make room for it, or name a file on another disk with --report."} ${REPEAT}`,
          cause: error,
        });
      const problem = code === "EEXIST" ? "exists already" : `cannot be written: ${code ?? String(error)}`;
      throw new UsageError(`The report ${path} ${problem}.`, "Name another file with --report.");
    }
  };
  // Records are refused both while they are read and while they are sent.
  return async ({ sourceKey: key }, { code, message }) => {
    const line = `${JSON.stringify({ key, code, message })}\n`;
    written = written === undefined ? append(line, "wx") : written.then(() => append(line, "a"));
    await written;
  };
}
