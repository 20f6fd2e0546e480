import path from "node:path";
import { CairnError, isCairnError, type KvProvider, namesIn } from "@cairn/kv";
import {
  anchorOfPrefix,
  backupsBeyond,
  buildPlanned,
  checkAnchor,
  comparedWith,
  dbDirLayout,
  fileReader,
  findOrphans,
  type History,
  historyOfLog,
  historyOfOrphans,
  historyOfRows,
  type LogIdentity,
  logWithBackup,
  openIndex,
  openUnlocked,
  planPast,
  readQuarantine,
  restoreStores,
  type System,
  type TxLog,
} from "@cairn/engine";
import type { TxId } from "@cairn/client";
import { formatCount, formatNumberOf, shellWord } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag, textValue } from "../options/option-specs.ts";
import { openLog, requireIdentity } from "../places/configured-system.ts";
import { BACKUP_PART } from "../places/past-point.ts";
import { copyNodeIndex } from "../places/copied-index.ts";
import { rangeText } from "../terminal/backup-text.ts";
import { workFolder } from "../places/staging-folder.ts";

export const addLogOrphans = command({
  syntax: "orphans",
  description:
    "Print transactions that the log lost and that exist only in quarantined indexes or in the log's backup, as input for cairn load",
  examples: [
    "cairn log orphans -f cairn.edn > orphans.ndjson",
    "cairn log orphans --from-backup -f cairn.edn > orphans.ndjson",
    "cairn load orphans.ndjson --await",
  ],
  options: {
    ...CONFIGURATION_OPTIONS,
    fromBackup: flag("print those that are in the backup of the log or of a log that it continues"),
    log: textValue(
      "<id>",
      "also print all transactions of indexes of this log, which the configured one does not continue, because that one was begun in its place",
    ),
  },
  async act(run) {
    const { log: opened, system } = await openLog(run);
    run.interruptible("not all transactions were printed");
    const stores = restoreStores(system);
    const log = logWithBackup(opened, stores);
    const identity = await requireIdentity(log, system);
    const { fromBackup, log: other } = run.options;
    const provider = fileReader(system.kvProvider);
    const present = await presentHistory(run, log, identity, system);
    const printing = { log, identity, provider, run, other, present };
    if (fromBackup)
      return await printFromBackups(await backupsBeyond(opened, identity, stores), opened, system, printing);
    const absent = await noDbDir(system);
    if (absent === undefined) await printFromQuarantine(dbDirLayout(system.dbDir).quarantine, printing);
    try {
      for (const { logId, store, listed, last } of await backupsBeyond(opened, identity, stores)) {
        const range = rangeText({ first: listed + 1, last });
        run.notice(
          `the backup of the log ${logId} in ${store.location} holds transactions ${range} of a history that the log does not continue: cairn log orphans --from-backup prints those that were not loaded again.`,
        );
      }
    } catch (error) {
      // An unreadable backup does not make the command fail.
      if (!isCairnError(error)) throw error;
      const why = `${error.code}: ${error.message}`;
      run.notice(`it is unknown whether a log backup holds more transactions (${why}).`);
    }
    if (absent !== undefined) throw absent;
  },
});

/** Without the id and the folder of the node, the command would look in a folder that never existed, and find nothing. */
async function noDbDir({ dbDir, nodeId, kvProvider }: System): Promise<CairnError | undefined> {
  if (!kvProvider.persistent || (await namesIn(dbDir)).length > 0) return undefined;
  const parent = path.dirname(dbDir);
  const others = (await namesIn(parent)).filter((name) => name.endsWith("-index"));
  const found = others.length === 0 ? "" : ` ${parent} has those of other nodes: ${others.join(", ")}.`;
  return new CairnError(
    "NOT_FOUND",
    `There is no index of node ${nodeId} in ${dbDir}, so it is unknown whether one holds transactions that the log lost.${found}`,
    "Run the command on the node's machine, with the configuration and the environment of the node (CAIRN_NODE_ID, CAIRN_DIR): its status and its log print the whole command.",
  );
}

async function printFromQuarantine(quarantine: string, printing: Printing): Promise<void> {
  const { run, identity } = printing;
  // What was recorded about another log says nothing about this one.
  const indexes = (await readQuarantine(quarantine)).filter(
    ({ holdsLost, held }) => holdsLost || (held.comparedWith ?? identity.id) !== identity.id,
  );
  if (indexes.length === 0) run.notice(`no index in ${quarantine} holds transactions that the log lost.`);
  const unreadable: CairnError[] = [];
  const printed: History[] = [];
  for (const index of indexes) {
    try {
      const after = await printOrphans(index, printing, 0, printed);
      if (after !== undefined) printed.push(historyOfOrphans(printing.provider, index.live, after));
    } catch (error) {
      if (!isCairnError(error) || !error.code.startsWith("INDEX_")) throw error;
      const message = `${index.folder} cannot be read completely: ${error.message}`;
      run.notice(message);
      const hint =
        error.code === "INDEX_LOCKED"
          ? "Run the command again later."
          : "Keep that folder: nothing shows that the log holds all of its transactions. If the log was neither restored from an older copy nor begun anew, nothing is missing, and the folder can be removed. The transactions of other indexes were printed completely.";
      unreadable.push(new CairnError(error.code, message, { hint, cause: error }));
    }
  }
  // The error is thrown last, so that everything readable is printed and the exit code shows that something is missing.
  if (unreadable[0] !== undefined) throw unreadable[0];
}

/** Prints what backups hold beyond `opened`, from indexes built from them: only these show what took effect. */
async function printFromBackups(
  backups: Awaited<ReturnType<typeof backupsBeyond>>,
  opened: TxLog,
  system: System,
  printing: Printing,
): Promise<void> {
  const { run, identity } = printing;
  if (backups.length === 0) return run.notice("no log backup holds transactions that the log does not hold.");
  const { signal } = run;
  const dir = await workFolder(run, system.dir, "orphans");
  const planning = { stores: restoreStores(system), kvFormat: system.kvProvider.format, signal };
  const onSegment = (error: CairnError): void => run.passOver(BACKUP_PART, error);
  const building = { system: { ...system, nodeId: run.node }, dir, signal, onSegment };
  const gaps: CairnError[] = [];
  for (const { logId, store, shared, listed, last } of backups) {
    const plan: Parameters<typeof buildPlanned>[0] = async (found) =>
      await planPast({ ...planning, logId, at: { txId: last }, found });
    const { live, txId } = (await buildPlanned(plan, building, () => undefined)).past;
    const folder = `the backup of the log ${logId} in ${store.location}`;
    if (txId < last) gaps.push(notPrinted(folder, Math.max(txId, listed), last));
    if (txId <= listed) continue;
    const held = { shared, comparedWith: identity.id };
    // The log's own backup says nothing about what it has in common with the log.
    const log = logId === identity.id ? logWithBackup(opened, []) : printing.log;
    await printOrphans({ folder, live, holdsLost: true, held }, { ...printing, log }, listed);
  }
  // It is thrown last, so that everything readable is printed.
  if (gaps[0] !== undefined) throw gaps[0];
}

function notPrinted(backup: string, printed: TxId, last: TxId): CairnError {
  return new CairnError(
    "LOG_GAP",
    `Transactions ${rangeText({ first: printed + 1, last })} of ${backup} were not printed: the backup lacks some of them, and no checkpoint after these leads to the rest.`,
    "Keep the files of the backup until the missing ones are back: cairn log backup verify names what is missing.",
  );
}

interface Printing {
  readonly log: ReturnType<typeof logWithBackup>;
  readonly identity: LogIdentity;
  readonly provider: KvProvider;
  readonly run: CommandRun;
  readonly present: Awaited<ReturnType<typeof presentHistory>>;
  /** The id of a log whose indexes are printed although the log does not continue it. */
  readonly other: string | undefined;
}

/**
 * Prints the transactions that only `index` contains. Those up to `listed`, and those in `earlier`, have already been
 * printed. Returns the transaction after which its others were compared; undefined if none were.
 */
async function printOrphans(
  index: Awaited<ReturnType<typeof readQuarantine>>[number],
  printing: Printing,
  listed: TxId,
  earlier: readonly History[] = [],
): Promise<TxId | undefined> {
  const { log, identity, provider, run, other, present } = printing;
  const isUncompared = index.held.txId === undefined && index.held.shared === undefined;
  // An index that a node could not compare may be damaged. LevelDB itself would print what is left as if it were all.
  const { kv, state } = await openUnlocked(provider, index.live, { check: isUncompared });
  try {
    await kv.checked?.();
    if (state === undefined) return undefined;
    const found = await findOrphans({ kv, state }, index.held, log, identity, listed);
    const { txId: shared, isProven, after, kept } = found;
    if (found.isOfOther && state.log.id !== other) {
      run.notice(
        `${index.folder} belongs to the log ${state.log.id}, which this log does not continue, so its transactions are not printed. If this log was begun in the place of that one, which was lost, cairn log orphans --log ${state.log.id} prints them. Otherwise, remove the folder, or give it back to the cluster of that log: loaded into this log, they would overwrite its documents.`,
      );
      return undefined;
    }
    let printed = 0;
    let held = 0;
    let conditional = 0;
    const histories = [...present.after(shared), ...earlier];
    for await (const { one, isHeld, isIdTaken } of comparedWith(found.transactions, histories)) {
      const { txId, id, evicted, unmatched } = one;
      run.signal.throwIfAborted();
      if (isHeld) {
        held += 1;
        conditional += unmatched > 0 ? 1 : 0;
        continue;
      }
      const of = `transaction ${formatCount(txId)}`;
      for (const key of evicted)
        run.notice(`${of}: omitted the document that it put to ${key}, which was evicted afterwards.`);
      const line = isIdTaken ? one.renamed : one.line;
      if (line === undefined) continue;
      if (isIdTaken)
        run.notice(`${of}: its id ${JSON.stringify(id)} now belongs to other content, so it has another id.`);
      const conditions = formatNumberOf(unmatched, "precondition");
      if (unmatched > 0) run.notice(`${of}: omitted ${conditions} on revisions that the log lost.`);
      printed += 1;
      await run.line(line);
    }
    const range = rangeText({ first: after + 1, last: state.txId });
    const sentences = [
      ...(state.txId > shared
        ? [
            `${found.isOfOther ? `the log ${state.log.id} had` : "the log lost"} transactions ${range}${exceptions(held, conditional, present.unknownUpTo > shared)}`,
          ]
        : []),
      ...(kept > after + 1 ? [forgotten(after, kept, index)] : []),
      ...(isProven ? [] : [unproven(shared, kept, index.held.comparedWith !== identity.id)]),
      ...(state.txId > shared || !isProven ? [] : ["the log has all its transactions"]),
      `printed ${printed === 0 ? "nothing" : formatNumberOf(printed, "transaction")}`,
    ];
    run.notice(`${index.folder}: ${sentences.join("; ")}.`);
    return after;
  } finally {
    await kv.close();
  }
}

/** `isUnknown` if the log no longer shows all transactions that it has stored since. */
function exceptions(held: number, conditional: number, isUnknown: boolean): string {
  const failed =
    conditional === 0
      ? ""
      : ` (${formatNumberOf(conditional, "transaction")} with preconditions on revisions that the log lost may have failed there)`;
  const except =
    held === 0
      ? ""
      : `, except ${formatNumberOf(held, "transaction")} that it holds at other positions, that were loaded again, or that are printed above${failed}`;
  return `${except}${isUnknown ? ", which may have been loaded again since" : ""}`;
}

function forgotten(
  after: TxId,
  kept: TxId,
  { folder, live }: { readonly folder: string; readonly live: string },
): string {
  // An index that was built from a backup is removed again.
  const where = path.isAbsolute(folder)
    ? ` (cairn db buckets ${shellWord(live)} shows what the index holds of their documents)`
    : "";
  return `transactions ${rangeText({ first: after + 1, last: kept - 1 })} cannot be printed, because the policy "outcomes" removed what they wrote${where}`;
}

function unproven(shared: TxId, kept: TxId, isUncompared: boolean): string {
  const why =
    shared <= kept
      ? `the policy "outcomes" removed the outcomes`
      : "neither the log nor a backup holds the messages";
  return `${why} of its transactions up to ${formatCount(shared)}, so it is unknown whether the log's history contains all of these (${isUncompared ? "a node compares them with its own index when it starts" : "cairn db can read the index"})`;
}

/**
 * Returns what the log holds after a transaction, as the node's index shows it, if it agrees with the log, and the rest of
 * the log; and the last transaction that has been trimmed and that the index does not show either.
 */
async function presentHistory(
  run: CommandRun,
  log: ReturnType<typeof logWithBackup>,
  identity: LogIdentity,
  system: System,
) {
  const { copy } = await copyNodeIndex(run, system);
  const { bounds, birth, id } = identity;
  // An index that the log does not continue may have the lost transactions itself.
  const isPresent =
    copy?.state.log.id === id && (await checkAnchor(log, anchorOfPrefix(copy.state))) === undefined;
  const shown = isPresent ? copy.state.txId : 0;
  const offset = birth?.offset ?? copy?.state.log.offset ?? 0;
  const { kv } = isPresent ? await openIndex(fileReader(system.kvProvider), copy.dir) : {};
  run.defer(async () => await kv?.close());
  const after = (txId: TxId): readonly History[] => {
    const rest = historyOfLog(log, Math.max(bounds.first, Math.max(shown, txId) + 1 - offset), run.signal);
    return kv === undefined || shown <= txId ? [rest] : [historyOfRows(kv, txId, shown), rest];
  };
  return {
    after,
    unknownUpTo: isPresent
      ? (copy.state.outcomesAfter ?? 0)
      : bounds.first > 1
        ? bounds.first - 1 + offset
        : 0,
  };
}
