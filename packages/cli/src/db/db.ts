import { CairnError } from "@cairn/kv";
import { parseAsOf, parseDocumentKey, formatCount } from "@cairn/text";
import { countBuckets, digestIndex, IndexStore } from "@cairn/engine";
import { command, commandGroup } from "../options/command.ts";
import { countValue, textValue } from "../options/option-specs.ts";
import { writeJson } from "../terminal/terminal.ts";
import { versionTable } from "../terminal/version-table.ts";
import { addDbCheck } from "./db-check.ts";
import { addDbCompact } from "./db-compact.ts";
import { DB_OPTIONS, DB_NOTE } from "./db-copy.ts";
import { addDbKeys, addDbStats } from "./db-stats.ts";
import { placeFirst } from "./db-place.ts";
import { openIndexOf } from "./db-reader.ts";

const addBuckets = command({
  syntax: "buckets [place]",
  description: "List the buckets with the number of documents in each",
  examples: ["cairn db buckets ./cairn-data/node-1-index"],
  options: DB_OPTIONS,
  note: DB_NOTE,
  async act(run, place) {
    const { reader } = await openIndexOf(run, place);
    const buckets = await countBuckets(reader);
    await run.list(
      buckets,
      ["BUCKET", "DOCUMENTS", "DELETED"],
      ({ bucket, documents, deleted }) => [bucket, formatCount(documents), formatCount(deleted)],
      ["DOCUMENTS", "DELETED"],
    );
  },
});

const addDigest = command({
  syntax: "digest [place]",
  description: "Print the SHA-256 of the logical content, like GET /api/v1/digest",
  examples: [
    "cairn db digest ./cairn-data/node-1-index",
    "cairn db digest ./cairn-data/checkpoints --at-tx 1200",
  ],
  options: {
    ...DB_OPTIONS,
    atTx: countValue("<id>", "print the digest at an earlier transaction, computed from the history", 1),
  },
  note: DB_NOTE,
  async act(run, place) {
    const { reader } = await openIndexOf(run, place);
    const digest = await digestIndex(reader, run.options.atTx);
    await run.end();
    await writeJson(run.terminal.stdout, digest);
  },
});

const addGet = command({
  syntax: "get <place...>",
  usage: "[options] [place] <bucket> <key>",
  description: "Print a document",
  examples: [
    "cairn db get ./cairn-data/node-1-index pods default/web-0",
    "cairn db get ./cairn-data/checkpoints pods web-0 --as-of 1200",
  ],
  options: {
    ...DB_OPTIONS,
    asOf: textValue("<tx-or-time>", "print the document as of a transaction or a time"),
  },
  note: DB_NOTE,
  async act(run, given) {
    const { asOf } = run.options;
    const [place, bucket = "", key = ""] = placeFirst(given, ["bucket", "key"], 2, run.options);
    const wanted = parseDocumentKey(bucket, key);
    const at = asOf === undefined ? undefined : parseAsOf(asOf, "--as-of");
    const { kv, state } = await openIndexOf(run, place);
    const found = await (await IndexStore.open(kv, state)).get(wanted, at);
    if (found === undefined) throw noDocument(bucket, key, asOf);
    const { json, ...rest } = found;
    const document: unknown = JSON.parse(json);
    await run.answer({ ...rest, document }, JSON.stringify(document, undefined, 2));
  },
});

const PAGE = 1000;

const addHistory = command({
  syntax: "history <place...>",
  usage: "[options] [place] <bucket> <key>",
  description: "List the versions of a document, newest first",
  examples: ["cairn db history ./cairn-data/node-1-index pods default/web-0 --limit 5"],
  options: { ...DB_OPTIONS, limit: countValue("<count>", "print at most this many versions", 1, 100) },
  note: DB_NOTE,
  async act(run, given) {
    const [place, bucket = "", key = ""] = placeFirst(given, ["bucket", "key"], 2, run.options);
    const wanted = parseDocumentKey(bucket, key);
    const { stdout } = run.terminal;
    const { kv, state } = await openIndexOf(run, place);
    const index = await IndexStore.open(kv, state);
    let cursor: string | undefined;
    let left = run.options.limit;
    do {
      const page = await index.history(wanted, Math.min(PAGE, left), cursor);
      if (page.versions.length === 0) throw noDocument(bucket, key, undefined);
      const versions = page.versions.map(({ json, ...version }) =>
        json === undefined ? version : { ...version, document: JSON.parse(json) as unknown },
      );
      await run.page(versions, versionTable(versions, stdout), left === run.options.limit);
      left -= versions.length;
      ({ cursor } = page);
    } while (cursor !== undefined && left > 0);
  },
});

function noDocument(bucket: string, key: string, asOf: string | undefined): CairnError {
  const when = asOf === undefined ? "" : ` as of ${asOf}`;
  return new CairnError(
    "NOT_FOUND",
    `There is no ${JSON.stringify(key)} in ${bucket}${when}.`,
    `Choose one of the keys that are listed by cairn db keys ${bucket}.`,
  );
}

export const addDb = commandGroup(
  "db",
  "Inspect an index without its node: in a db-dir (even one in use), a LevelDB database or a checkpoint",
  [addDbCheck, addBuckets, addDbKeys, addGet, addHistory, addDbStats, addDigest, addDbCompact],
);
