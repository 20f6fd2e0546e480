import { CairnError, isCairnError, levelProvider } from "@cairn/kv";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import { checkRows } from "../../index/inspect/check-rows.ts";
import { readState } from "../../index/rows/index-state.ts";
import { STATE_ROW_KEY } from "../../index/rows/row-keys.ts";
import { rowName } from "../../index/rows/row-names.ts";
import { verifyRestored } from "../../checkpoints/accept-checkpoint.ts";
import { type AddCommand, wholeNumber } from "../options/command-options.ts";
import { type DbCopy, type DbOptions, withDbCopy } from "./db-copy.ts";
import { describeDbCommand, isUnusable, type OpenedDb, openCopy, tableDamage } from "./db-reader.ts";
import { formatNumberOf } from "../../text/quantities.ts";
import { printable, type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";

interface CheckOptions extends DbOptions {
  readonly limit: number;
}

/** Rows from `from`, or after `after`, up to `upTo` are affected, all in the format of `rowName`. */
interface Problem {
  readonly table?: string;
  readonly key?: string;
  readonly from?: string;
  readonly after?: string;
  readonly upTo?: string;
  readonly problem: string;
}

/** The content of an intact database. `txId` is undefined if the database is not a Cairn index. */
interface Content {
  readonly rows: number;
  readonly documents?: number;
  readonly txId?: number;
  readonly logId?: string;
}

export const addDbCheck: AddCommand = (parent, terminal) => {
  describeDbCommand(
    parent.command("check [place]"),
    "Compare every table with its checksums and every row with the others; print problems and exit with 1 if there are any",
    [
      "cairn db check ./cairn-data/node-1-index",
      "cairn db check -f cairn.edn",
      "cairn db check s3://bucket/prefix --json",
    ],
  )
    .option("--limit <count>", "print at most this many problems", wholeNumber("--limit", 1), 100)
    .action(async (place: string | undefined, options: CheckOptions) => {
      const report = new Report(options, terminal);
      const source = await withDbCopy(place, options, terminal, async (copy) => {
        const sound = await check(copy, options, report, terminal);
        if (report.problems === 0) await writeSound(copy, sound, options, terminal);
        return copy.source;
      });
      if (report.problems === 0) return;
      if (options.json === true) await writeJson(terminal.stdout, { ok: false, problems: report.problems });
      const found = formatNumberOf(report.problems, "problem");
      throw new CairnError("INDEX_CORRUPT", `${source} has ${found}.`, {
        hint: "Restart the node of this index: it moves the damaged index aside and builds another one from a checkpoint or from the log. Nothing was changed.",
      });
    });
};

/** Counts problems and prints the first ones as they are found. */
class Report {
  problems = 0;
  readonly #options: CheckOptions;
  readonly #terminal: Terminal;

  constructor(options: CheckOptions, terminal: Terminal) {
    this.#options = options;
    this.#terminal = terminal;
  }

  async add(problem: Problem): Promise<void> {
    this.problems += 1;
    if (this.problems > this.#options.limit) return;
    const { stdout } = this.#terminal;
    await (this.#options.json === true ? writeJson(stdout, problem) : writeLine(stdout, textOf(problem)));
  }
}

function textOf({ table, key, from, after, upTo, problem }: Problem): string {
  if (table === undefined) return printable(key === undefined ? problem : `${key}: ${problem}`);
  const begin = from === undefined ? `after ${after ?? ""}` : `from ${from}`;
  return printable(`table ${table}, ${problem}; rows ${begin} up to ${upTo ?? ""}`);
}

async function check(
  copy: DbCopy,
  { checksums }: CheckOptions,
  report: Report,
  terminal: Terminal,
): Promise<Content> {
  if (checksums) {
    for await (const { table, what, from, after, upTo } of tableDamage(copy, terminal)) {
      const begin = omitUndefined({ from: from && rowName(from), after: after && rowName(after) });
      await report.add({ table, ...begin, upTo: rowName(upTo), problem: what });
    }
  }
  // Rows that LevelDB reads from damaged blocks cannot be checked.
  if (report.problems > 0) return { rows: 0 };
  try {
    if (copy.manifest !== undefined) await verifyRestored(levelProvider(), copy.dir, copy.manifest);
    return await openCopy(copy, terminal, async (db) => await checkContent(db, report));
  } catch (error) {
    if (!isUnusable(error) && !isCairnError(error, "CHECKPOINT_CORRUPT")) throw error;
    await report.add({ problem: error.message.replaceAll(copy.dir, copy.source) });
    return { rows: 0 };
  }
}

async function checkContent({ reader }: OpenedDb, report: Report): Promise<Content> {
  if ((await reader.get(STATE_ROW_KEY)) === undefined) {
    let rows = 0;
    for await (const page of reader.range({})) rows += page.length;
    return { rows };
  }
  const state = await readState(reader);
  if (state === undefined) throw new Error("the state row is missing");
  const problems = checkRows(reader, state);
  let step = await problems.next();
  for (; step.done !== true; step = await problems.next()) {
    await report.add({ key: rowName(step.value.key), problem: step.value.problem });
  }
  return { ...step.value, txId: state.txId, logId: state.log.id };
}

async function writeSound(
  { source, kind }: DbCopy,
  { rows, documents = 0, txId, logId }: Content,
  { json, checksums }: CheckOptions,
  terminal: Terminal,
): Promise<void> {
  if (json === true) {
    return writeJson(terminal.stdout, {
      ok: true,
      kind,
      rows,
      documents,
      txId: txId ?? null,
      logId: logId ?? null,
    });
  }
  const compared = checksums ? "every table matches its checksums" : "its tables were not checked";
  const held = formatNumberOf(rows, "row");
  if (txId === undefined) {
    return writeLine(
      terminal.stdout,
      `${source} is a LevelDB of ${held}, but not a Cairn index; ${compared}`,
    );
  }
  const content = `${held}, ${formatNumberOf(documents, "document")}, transaction ${txId} of the log ${logId}`;
  return writeLine(terminal.stdout, printable(`${source} is intact (${kind}): ${content}; ${compared}`));
}
