import { CairnError, isCairnError, levelProvider } from "@cairn/kv";
import { checkRows, findState, indexReader, rowName, verifyRestored } from "@cairn/engine";
import { formatNumberOf } from "@cairn/text";
import { command } from "../options/command.ts";
import { countValue } from "../options/option-specs.ts";
import { printable, writeJson } from "../terminal/terminal.ts";
import { copyDb, DB_OPTIONS, DB_NOTE, type DbCopy, type DbRun } from "./db-copy.ts";
import { type DbProblem, openCopy, tableDamage, upgradeCopy } from "./db-reader.ts";

/** The content of an intact database. `txId` is null if the database is not a Cairn index. */
interface Content {
  readonly rows: number;
  readonly documents: number;
  readonly txId: number | null;
  readonly logId: string | null;
}

export const addDbCheck = command({
  syntax: "check [place]",
  description:
    "Compare every table with its checksums and every row with the others; print problems and exit with 1 if there are any",
  examples: [
    "cairn db check ./cairn-data/node-1-index",
    "cairn db check -f cairn.edn",
    "cairn db check s3://bucket/prefix --json",
  ],
  options: { ...DB_OPTIONS, limit: countValue("<count>", "print at most this many problems", 1, 100) },
  note: DB_NOTE,
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

type OnProblem = (problem: DbProblem) => Promise<void>;

/** Undefined if the index cannot be used, which is a problem. */
async function checkContent(run: DbRun, copy: DbCopy, onProblem: OnProblem): Promise<Content | undefined> {
  try {
    if (copy.manifest !== undefined) await verifyRestored(levelProvider(), copy.dir, copy.manifest);
    await upgradeCopy(copy);
    const { reader } = await openCopy(run, copy);
    const state = await findState(reader);
    if (state === undefined) {
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
    const isProblem = ["INDEX_CORRUPT", "INDEX_VERSION", "CHECKPOINT_CORRUPT"] as const;
    if (!isCairnError(error) || !isProblem.some((code) => code === error.code)) throw error;
    await onProblem({ problem: error.message.replaceAll(copy.dir, copy.source) });
    return undefined;
  }
}

function textOf({ table, key, from, after, upTo, problem }: DbProblem): string {
  if (table === undefined) return printable(key === undefined ? problem : `${key}: ${problem}`);
  const begin = from === undefined ? `after ${after ?? ""}` : `from ${from}`;
  return printable(`table ${table}, ${problem}; rows ${begin} up to ${upTo ?? ""}`);
}
