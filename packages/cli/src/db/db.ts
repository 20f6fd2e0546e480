import { CairnError, indexCorrupt, isCairnError, levelProvider } from "@cairn/kv";
import { parseAsOf, parseDocumentKey, formatCount, formatNumberOf } from "@cairn/text";
import {
  countBuckets,
  digestIndex,
  IndexStore,
  findState,
  indexReader,
  checkRows,
  rowName,
  verifyRestored,
} from "@cairn/engine";
import { command, commandGroup } from "../options/command.ts";
import { countValue, textValue } from "../options/option-specs.ts";
import { writeJson, printable } from "../terminal/terminal.ts";
import { VERSION_COLUMNS } from "../terminal/version-table.ts";
import { DB_OPTIONS, copyDb, type DbCopy, type DbRun } from "./db-copy.ts";
import { addDbKeys, addDbStats } from "./db-stats.ts";
import { placeFirst } from "./db-place.ts";
import { openIndexOf, type DbProblem, openCopy, tableDamage } from "./db-reader.ts";

const addCheck = command({
  syntax: "check [place]",
  description:
    "Compare every table with its checksums and every row with the others; print problems and exit with 1 if there are any",
  examples: [
    "cairn db check ./cairn-data/node-1-index",
    "cairn db check -f cairn.edn",
    "cairn db check s3://bucket/prefix --json",
  ],
  options: { ...DB_OPTIONS, limit: countValue("<count>", "print at most this many problems", 100) },
  async act(run, place) {
    const { limit, checksums } = run.options;
    const { stdout } = run.terminal;
    let problems = 0;
    const onProblem = async (problem: DbProblem): Promise<void> => {
      problems += 1;
      if (problems <= limit) await (run.json ? writeJson(stdout, problem) : run.line(textOf(problem)));
    };
    const copy = await copyDb(run, place);
    const { source, kind } = copy;
    if (checksums) for await (const [problem] of tableDamage(run, copy)) await onProblem(problem);
    // Rows that LevelDB reads from damaged blocks cannot be checked.
    const content = problems > 0 ? undefined : await checkContent(run, copy, onProblem);
    if (problems > 0 || content === undefined) {
      await run.end();
      if (run.json) await writeJson(stdout, { ok: false, problems });
      throw new CairnError(
        "INDEX_CORRUPT",
        `${source} has ${formatNumberOf(problems, "problem")}.`,
        "Restart the node of this index: it moves the damaged index aside and builds another one from a checkpoint or from the log. Nothing was changed.",
      );
    }
    const { rows, documents, txId, logId } = content;
    const compared = checksums ? "every table matches its checksums" : "its tables were not checked";
    const held = formatNumberOf(rows, "row");
    const of = `${held}, ${formatNumberOf(documents, "document")}, transaction ${txId} of the log ${logId}`;
    await run.answer(
      { ok: true, kind, ...content },
      txId === null
        ? `${source} is a LevelDB of ${held}, but not a Cairn index; ${compared}`
        : printable(`${source} is intact (${kind}): ${of}; ${compared}`),
    );
  },
});

const NO_STATE = "its write-ahead log is missing or empty, or its node has only just begun it.";

type OnProblem = (problem: DbProblem) => Promise<void>;

/** Undefined if the index cannot be used, which is a problem. `txId` is null if the database is not a Cairn index. */
async function checkContent(run: DbRun, copy: DbCopy, onProblem: OnProblem) {
  try {
    if (copy.manifest !== undefined) await verifyRestored(levelProvider(), copy.dir, copy.manifest);
    const { reader } = await openCopy(run, copy);
    const state = await findState(reader);
    if (state === undefined) {
      if (copy.kind === "db-dir")
        throw indexCorrupt(`The index in ${copy.source} lacks its state: ${NO_STATE}`);
      let rows = 0;
      for await (const page of reader.range({})) rows += page.length;
      return { rows, documents: 0, txId: null, logId: null };
    }
    const problems = checkRows(indexReader(reader), state);
    let step = await problems.next();
    for (; step.done !== true; step = await problems.next())
      await onProblem({ key: rowName(step.value.key), problem: step.value.problem });
    return { ...step.value, txId: state.txId, logId: state.log.id };
  } catch (error) {
    if (!isCairnError(error, "INDEX_CORRUPT", "INDEX_VERSION", "CHECKPOINT_CORRUPT")) throw error;
    await onProblem({ problem: error.message.replaceAll(copy.dir, copy.source) });
    return undefined;
  }
}

function textOf({ table, key, problem }: DbProblem): string {
  const place = table === undefined ? key : `table ${table}`;
  return printable(place === undefined ? problem : `${place}: ${problem}`);
}

const addBuckets = command({
  syntax: "buckets [place]",
  description: "List the buckets with the number of documents in each",
  examples: ["cairn db buckets ./cairn-data/node-1-index"],
  options: DB_OPTIONS,
  async act(run, place) {
    const { reader } = await openIndexOf(run, place);
    await run.list(await countBuckets(reader), [
      ["BUCKET", ({ bucket }) => bucket],
      ["DOCUMENTS", ({ documents }) => formatCount(documents), "right"],
      ["DELETED", ({ deleted }) => formatCount(deleted), "right"],
    ]);
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
    atTx: countValue("<id>", "print the digest at an earlier transaction, computed from the history"),
  },
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
  options: { ...DB_OPTIONS, limit: countValue("<count>", "print at most this many versions", 100) },
  async act(run, given) {
    const [place, bucket = "", key = ""] = placeFirst(given, ["bucket", "key"], 2, run.options);
    const wanted = parseDocumentKey(bucket, key);
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
      await run.page(versions, run.table(VERSION_COLUMNS, versions), left === run.options.limit);
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
    `Choose one of the keys that cairn db keys ${bucket} lists.`,
  );
}

export const addDb = commandGroup(
  "db",
  "Inspect an index without its node: in a db-dir (even one in use), a LevelDB database or a checkpoint",
  [addCheck, addBuckets, addDbKeys, addGet, addHistory, addDbStats, addDigest],
  "The place defaults to the index of the configured node. With a configuration (-f, -e, -j), it can also be the name of a checkpoint in the configured store.",
);
