import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { CairnError, isCairnError, type KvProvider, wait } from "@cairn/kv";
import type { System } from "../../api/system.ts";
import { type BackupBeyond, backupsBeyond } from "../../backup/beyond-log.ts";
import { type LogHistory, logWithBackup } from "../../backup/log-with-backup.ts";
import { restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import { fileReader, openIndex, type OpenedIndex } from "../../index/local-index.ts";
import { FIRST_TX_ID, firstKept } from "../../index/rows/index-state.ts";
import { type LogIdentity, readLogIdentity } from "../../log/log-identity.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { dbDirLayout } from "../../db-dir/layout.ts";
import { type QuarantinedIndex, readQuarantine } from "../../db-dir/quarantine.ts";
import { withRecorded } from "../../join/held-transactions.ts";
import { commonWithLog } from "../../join/last-shared.ts";
import { orphanTransactions } from "../../join/orphan-transactions.ts";
import type { TxId } from "@cairn/client";
import { buildPast } from "../../replay/past-index.ts";
import { planPast } from "../../replay/past-plan.ts";
import { formatCount, formatNumberOf } from "../../text/quantities.ts";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag } from "../options/option-specs.ts";
import { printable } from "../terminal/terminal.ts";
import { noLog, withLog } from "../places/log-place.ts";

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
  },
  async act(run) {
    await withLog(run.options, run.terminal, async (opened, system) => {
      const stores = restoreStores(system);
      const log = logWithBackup(opened, stores);
      const identity = await readLogIdentity(log);
      if (identity === undefined) throw await noLog(log, system);
      const printing = { log, identity, provider: fileReader(system.kvProvider), run };
      const find = async () => await backupsBeyond(opened, identity, stores);
      if (run.options.fromBackup) return await printFromBackups(await find(), opened, system, printing);
      await printFromQuarantine(dbDirLayout(system.dbDir).quarantine, printing);
      await tellOfBackups(find, printing);
    });
  },
});

/** Reports the transactions that backups hold beyond the log. An unreadable backup does not make the command fail. */
async function tellOfBackups(find: () => Promise<readonly BackupBeyond[]>, { run }: Printing): Promise<void> {
  try {
    for (const { logId, store, listed, last } of await find()) {
      const range = `${formatCount(listed + 1)} to ${formatCount(last)}`;
      tell(
        run,
        `the backup of the log ${logId} in ${store.location} holds transactions ${range}, which the log does not hold: cairn log orphans --from-backup prints them`,
      );
    }
  } catch (error) {
    if (!isCairnError(error)) throw error;
    tell(run, `it is unknown whether a log backup holds more transactions (${error.code}: ${error.message})`);
  }
}

async function printFromQuarantine(quarantine: string, printing: Printing): Promise<void> {
  const logId = printing.identity.id;
  // What was recorded about another log says nothing about this one.
  const indexes = (await readQuarantine(quarantine)).filter(
    ({ holdsLost, held }) => holdsLost || (held.comparedWith ?? logId) !== logId,
  );
  if (indexes.length === 0)
    tell(printing.run, `no index in ${quarantine} holds transactions that the log lost`);
  const unreadable: CairnError[] = [];
  for (const index of indexes) {
    const problem = await printOrphans(index, printing);
    if (problem !== undefined) unreadable.push(problem);
  }
  // The error is thrown last, so that everything readable is printed and the exit code shows that something is missing.
  if (unreadable[0] !== undefined) throw unreadable[0];
}

/**
 * Prints the transactions that backups hold beyond the log. Reads them from indexes built from the backups, because
 * only an index shows which transactions took effect. `opened` is the log without its backups.
 */
async function printFromBackups(
  backups: readonly BackupBeyond[],
  opened: TxLog,
  system: System,
  printing: Printing,
): Promise<void> {
  const { run } = printing;
  const { dir, kvProvider } = system;
  if (backups.length === 0) return tell(run, "no log backup holds transactions that the log does not hold");
  const stores = restoreStores(system);
  const signal = run.interruptible("not all transactions were printed");
  const work = path.join(dir, `.cairn-orphans-${randomBytes(4).toString("hex")}`);
  run.defer(() => rm(work, { recursive: true, force: true }));
  for (const { logId, store, shared, listed, last } of backups) {
    const plan = await planPast({
      stores,
      kvFormat: kvProvider.format,
      logId,
      at: { txId: last },
      signal,
    });
    const nodeId = `cairn log orphans on ${hostname()}`;
    const { live } = await buildPast({ plan, system: { ...system, nodeId }, dir: work, signal });
    const folder = `the backup of the log ${logId} in ${store.location}`;
    const held = { shared, comparedWith: printing.identity.id };
    // The log's own backup says nothing about what it has in common with the log.
    const log = logId === printing.identity.id ? opened : printing.log;
    await printReadable({ folder, live, holdsLost: true, held }, { ...printing, log }, listed);
  }
}

interface Printing {
  readonly log: LogHistory;
  readonly identity: LogIdentity;
  readonly provider: KvProvider;
  readonly run: CommandRun;
}

/** Prints the transactions that only `index` contains. Returns the error if the index could not be read completely. */
async function printOrphans(index: QuarantinedIndex, printing: Printing): Promise<CairnError | undefined> {
  try {
    await printReadable(index, printing);
    return undefined;
  } catch (error) {
    if (!isCairnError(error) || !error.code.startsWith("INDEX_")) throw error;
    const message = `${index.folder} cannot be read completely: ${error.message}`;
    tell(printing.run, message);
    const hint =
      error.code === "INDEX_LOCKED"
        ? "Run the command again later."
        : "Inspect that index with cairn db check. The transactions of other indexes were printed completely.";
    return new CairnError(error.code, message, { hint, cause: error });
  }
}

/** How long an index in quarantine may be in use (ms), and the pause before it is opened again. */
const IN_USE_MS = 5_000;
const OPEN_AGAIN_MS = 50;

/** A running node opens the index for a moment now and then, to see which of its transactions were loaded again. */
async function openUnlocked(provider: KvProvider, live: string): Promise<OpenedIndex> {
  const end = performance.now() + IN_USE_MS;
  for (;;) {
    try {
      return await openIndex(provider, live);
    } catch (error) {
      if (!isCairnError(error, "INDEX_LOCKED") || performance.now() >= end) throw error;
      await wait(OPEN_AGAIN_MS);
    }
  }
}

/** Prints the transactions that only `index` contains. Those up to `listed` have already been printed. */
async function printReadable(index: QuarantinedIndex, printing: Printing, listed = 0): Promise<void> {
  const { log, identity, provider, run } = printing;
  const { kv, state } = await openUnlocked(provider, index.live);
  try {
    if (state === undefined) return;
    const common = await commonWithLog(kv, state, log, identity);
    const { txId: shared, isProven } = await withRecorded({ kv, state }, common, index.held, identity);
    if (shared < FIRST_TX_ID) {
      tell(
        run,
        `${index.folder} belongs to the log ${state.log.id}, which this log does not continue, so all its transactions are printed`,
      );
    }
    const after = Math.max(shared, listed);
    let printed = 0;
    for await (const { txId, line, evicted, unmatched } of orphanTransactions(kv, state, shared, after)) {
      const of = `transaction ${formatCount(txId)}`;
      for (const key of evicted) {
        tell(
          run,
          `${of}: omitted the document that it put to ${printable(key)}, which was evicted afterwards`,
        );
      }
      if (unmatched > 0 && line !== undefined) {
        const conditions = formatNumberOf(unmatched, "precondition");
        tell(run, `${of}: omitted ${conditions} on revisions that the log lost`);
      }
      if (line === undefined) continue;
      printed += 1;
      await run.line(line);
    }
    const kept = firstKept(state);
    const range = `${formatCount(after + 1)} to ${formatCount(state.txId)}`;
    const sentences = [
      ...(state.txId > shared ? [`only it contains transactions ${range}`] : []),
      ...(kept > after + 1 ? [forgotten(after, kept)] : []),
      ...(isProven ? [] : [unproven(shared, kept, index.held.comparedWith !== identity.id)]),
      ...(state.txId > shared || !isProven ? [] : ["the log has all its transactions"]),
      `printed ${printed === 0 ? "nothing" : formatNumberOf(printed, "transaction")}`,
    ];
    tell(run, `${index.folder}: ${sentences.join("; ")}`);
  } finally {
    await kv.close();
  }
}

function forgotten(after: TxId, kept: TxId): string {
  return `transactions ${formatCount(after + 1)} to ${formatCount(kept - 1)} cannot be printed, because the policy "outcomes" removed what they wrote (their documents may still be in that index, which cairn db can read)`;
}

function unproven(shared: TxId, kept: TxId, isUncompared: boolean): string {
  const why =
    shared <= kept
      ? `the policy "outcomes" removed the outcomes`
      : "neither the log nor a backup holds the messages";
  return `${why} of its transactions up to ${formatCount(shared)}, so it is unknown whether the log's history contains all of these (${isUncompared ? "a node compares them with its own index when it starts" : "cairn db can read the index"})`;
}

function tell({ terminal }: CommandRun, sentence: string): void {
  terminal.stderr.write(`notice: ${sentence}.\n`);
}
