import { writeFile } from "node:fs/promises";
import { availableParallelism, release, totalmem } from "node:os";
import { Workspace } from "./data/workspace.ts";
import { judge, type Measured, runRounds } from "./harness/rounds.ts";
import type { Row } from "./harness/row.ts";
import { formatRow } from "./harness/table.ts";
import { measureFirstReads } from "./first-reads.ts";
import { measureGrowth } from "./growth.ts";
import { type BenchOptions, readOptions, USAGE } from "./options.ts";
import { access } from "./rows/access.ts";
import { attach } from "./rows/attach.ts";
import { checkpoint } from "./rows/checkpoint.ts";
import { fields } from "./rows/fields.ts";
import { join } from "./rows/join.ts";
import { latest } from "./rows/latest.ts";
import { logBackup, logBackupBytes, logBackupWriter } from "./rows/log-backup.ts";
import { ownBuild, ownCapture, ownFollow, ownJoin, ownLoop, ownWriter, sql } from "./rows/own-indexes.ts";
import { paced } from "./rows/paced.ts";
import { queues } from "./rows/queues.ts";
import { reads } from "./rows/reads.ts";
import { replay } from "./rows/replay.ts";
import { restart } from "./rows/restart.ts";
import { restore } from "./rows/restore.ts";
import { s3, s3Link } from "./rows/s3.ts";
import { t4 } from "./rows/t4.ts";
import { t4Faults } from "./rows/t4-faults.ts";
import { watch } from "./rows/watch.ts";
import { workloadsRow } from "./rows/workloads.ts";
import { writer } from "./rows/writer.ts";
import { submit, writes } from "./rows/writes.ts";
import { amplification, ycsb } from "./rows/ycsb.ts";

const ROWS: readonly Row[] = [
  replay,
  workloadsRow,
  checkpoint,
  restore,
  join,
  attach,
  writer,
  writes,
  submit,
  paced,
  ycsb,
  amplification,
  s3,
  s3Link,
  watch,
  fields,
  restart,
  reads,
  latest,
  access,
  logBackup,
  logBackupBytes,
  logBackupWriter,
  queues,
  ownFollow,
  ownBuild,
  ownJoin,
  ownWriter,
  ownCapture,
  sql,
  ownLoop,
  t4,
  t4Faults,
];

async function main(): Promise<void> {
  const options = optionsOrExit();
  const { rounds, size, only } = options;
  const machine = {
    node: process.version,
    cpus: availableParallelism(),
    memory: totalmem(),
    system: release(),
  };
  process.stdout.write(
    `${size.toLocaleString("en-US")} records, ${rounds} rounds, ${machine.cpus} CPUs, Node ${machine.node}\n`,
  );
  const workspace = await Workspace.open({ size, profileDir: options.profile, onProgress: printProgress });
  const closing = closeAtSignal(workspace);
  const results: object[] = [];
  try {
    if (options.firstReads !== undefined)
      return await measureFirstReads(workspace, options, options.firstReads);
    if (options.grow !== undefined) return await measureGrowth(workspace, size, options.grow);
    for (const row of ROWS.filter(({ name }) => only.length === 0 || only.includes(name))) {
      try {
        const measured = await measure(row, workspace, options);
        process.stdout.write(`\n${formatRow(row, measured)}\n`);
        results.push({ row: row.name, ...measured });
      } catch (error) {
        if (closing.interrupted.aborted) throw error;
        const reason = error instanceof Error ? error.message : String(error);
        process.stdout.write(`\n${row.name}: FAILED: ${reason}\n`);
        process.exitCode = 1;
      }
      // After each row, so that a run that is interrupted loses none of the finished ones.
      if (options.json !== undefined)
        await writeFile(
          options.json,
          `${JSON.stringify({ machine, size, rounds, rows: results }, null, 1)}\n`,
        );
    }
  } finally {
    closing.end();
    await workspace.close();
  }
}

async function measure(row: Row, workspace: Workspace, { rounds }: BenchOptions): Promise<Measured> {
  const comparison = await row.prepare(workspace);
  const done = await runRounds(comparison, rounds, (contestant, round) =>
    printProgress(`${row.name}, round ${round} of ${rounds}: ${contestant}`),
  );
  return judge(comparison, done);
}

/** Prints progress to stderr, so that stdout has only the table. */
function printProgress(what: string): void {
  process.stderr.write(`· ${what}\n`);
}

function optionsOrExit(): BenchOptions {
  try {
    return readOptions(
      process.argv.slice(2),
      ROWS.map(({ name }) => name),
    );
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\n${USAGE}\n`);
    process.exit(2);
  }
}

/** Until `end` is called, a signal aborts `interrupted`, stops the server and removes the files. */
function closeAtSignal(workspace: Workspace): { readonly interrupted: AbortSignal; end(): void } {
  const interruption = new AbortController();
  const stop = (): void => {
    interruption.abort();
    void workspace.close().finally(() => process.exit(130));
  };
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  return {
    interrupted: interruption.signal,
    end: () => {
      process.removeListener("SIGINT", stop);
      process.removeListener("SIGTERM", stop);
    },
  };
}

await main();
