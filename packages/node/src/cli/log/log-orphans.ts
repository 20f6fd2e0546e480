import { CairnError, isCairnError, type KvProvider } from "@cairn/kv";
import { fileReader, openIndex } from "../../index/local-index.ts";
import { type LogIdentity, readLogIdentity } from "../../log/log-identity.ts";
import { dbDirLayout } from "../../db-dir/layout.ts";
import { type QuarantinedIndex, readQuarantine } from "../../db-dir/quarantine.ts";
import { lastShared } from "../../join/last-shared.ts";
import { orphanTransactions } from "../../join/orphan-transactions.ts";
import type { TxId } from "@cairn/client";
import type { TxLog } from "../../log/tx-log.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  type ConfiguredOptions,
} from "../options/command-options.ts";
import { formatCount, formatNumberOf } from "../terminal/quantities.ts";
import { printable, type Terminal, writeLine } from "../terminal/terminal.ts";
import { noLog, withLog } from "../places/log-place.ts";

/** Adds `cairn log orphans`. */
export const addLogOrphans: AddCommand = (parent, terminal) => {
  describeConfiguredCommand(
    parent.command("orphans"),
    "Print transactions that the log lost and only indexes in quarantine know, as input for cairn load",
    ["cairn log orphans -f cairn.edn > orphans.ndjson", "cairn load orphans.ndjson --await"],
  ).action(async (options: ConfiguredOptions) => {
    await withLog(options, terminal, async (log, system) => {
      const { dbDir, kvProvider } = system;
      const identity = await readLogIdentity(log);
      if (identity === undefined) throw await noLog(log.name, system);
      const { quarantine } = dbDirLayout(dbDir);
      const indexes = (await readQuarantine(quarantine)).filter(({ holdsLost }) => holdsLost);
      if (indexes.length === 0)
        tell(terminal, `no index in ${quarantine} holds transactions that the log lost`);
      const unreadable: CairnError[] = [];
      for (const index of indexes) {
        const problem = await printOrphans(index, {
          log,
          identity,
          provider: fileReader(kvProvider),
          terminal,
        });
        if (problem !== undefined) unreadable.push(problem);
      }
      // The error is thrown last: everything readable is printed, and the exit code reports that something is missing.
      if (unreadable[0] !== undefined) throw unreadable[0];
    });
  });
};

interface Printing {
  readonly log: TxLog;
  readonly identity: LogIdentity;
  readonly provider: KvProvider;
  readonly terminal: Terminal;
}

/** Prints the transactions that only `index` contains. Returns the error if the index could not be read completely. */
async function printOrphans(index: QuarantinedIndex, printing: Printing): Promise<CairnError | undefined> {
  try {
    await printReadable(index, printing);
    return undefined;
  } catch (error) {
    if (!isCairnError(error) || !error.code.startsWith("INDEX_")) throw error;
    const message = `${index.folder} cannot be read completely: ${error.message}`;
    tell(printing.terminal, message);
    const hint =
      error.code === "INDEX_LOCKED"
        ? "Try again later."
        : "The transactions of other indexes were printed completely.";
    return new CairnError(error.code, message, { hint, cause: error });
  }
}

async function printReadable(index: QuarantinedIndex, printing: Printing): Promise<void> {
  const { log, identity, provider, terminal } = printing;
  const { kv, state } = await openIndex(provider, index.live);
  try {
    if (state === undefined) return;
    const known = leastOf(await lastShared(kv, state, log, identity), index.held.shared);
    if (known === undefined) {
      tell(
        terminal,
        `${index.folder} belongs to log ${state.log.id}, which this log does not continue: all its transactions are printed`,
      );
    }
    const shared = known ?? 0;
    let printed = 0;
    for await (const { txId, line, evicted, unmatched } of orphanTransactions(kv, state, shared)) {
      const of = `transaction ${formatCount(txId)}`;
      for (const key of evicted) {
        tell(
          terminal,
          `${of}: omitted the document that it put to ${printable(key)}, which was evicted afterwards`,
        );
      }
      if (unmatched > 0) {
        const conditions = formatNumberOf(unmatched, "precondition");
        tell(terminal, `${of}: omitted ${conditions} on revisions that the log lost`);
      }
      if (line === undefined) continue;
      printed += 1;
      await writeLine(terminal.stdout, line);
    }
    const range = `${formatCount(shared + 1)} to ${formatCount(state.txId)}`;
    const isTrimmed = known !== undefined && state.txId < identity.bounds.first + state.log.offset;
    const all = isTrimmed ? TRIMMED_PAST : "the log has all its transactions";
    const only = state.txId > shared ? `it alone knows transactions ${range}` : all;
    tell(terminal, `${index.folder}: ${only}; printed ${formatNumberOf(printed, "transaction")}`);
  } finally {
    await kv.close();
  }
}

const TRIMMED_PAST =
  "the log was trimmed past the end of this index, so it is unknown whether the log lost any of its transactions (cairn db reads the index)";

/**
 * Returns the smaller id. The one noted when the index was moved aside is needed, since messages trimmed afterwards can no longer be
 * compared.
 */
function leastOf(now: TxId | undefined, then: TxId | undefined): TxId | undefined {
  return now === undefined || then === undefined ? (now ?? then) : Math.min(now, then);
}

function tell(terminal: Terminal, sentence: string): void {
  terminal.stderr.write(`notice: ${sentence}.\n`);
}
