import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError, isCairnError, ERROR_CODES, unlessFailed } from "@cairn/kv";
import {
  type System,
  closeStores,
  lookBeforeBeginning,
  type LogIdentity,
  readLogIdentity,
  type TxLog,
} from "@cairn/engine";
import { createSystem } from "@cairn/config";
import { givenOptions, INLINE } from "@cairn/text";
import { type ConfiguredRun, readConfiguration } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";

/** Creates the parts of the configured node without starting any of them. The stores are closed with the run. */
export async function openSystem(run: ConfiguredRun): Promise<System> {
  const config = await readConfiguration(run);
  const onNotice = (notice: string): void => run.notice(notice);
  for (const notice of config.notices) onNotice(notice);
  const system = await createSystem(config, { onNotice });
  const { edn, configJson } = run.options;
  const inline = givenOptions({ "-e": edn, "-j": configJson }).trim();
  run.commandLine = (line) => system.commandLine(line).replace(INLINE, () => inline);
  run.defer(() => closeStores(system));
  return system;
}

export interface ConfiguredLog {
  readonly log: TxLog;
  readonly system: System;
}

/** Opens the configured log, and prints its problems as notices. It is closed with the run, like the stores. */
export async function openLog(run: ConfiguredRun, opened?: System): Promise<ConfiguredLog> {
  const system = opened ?? (await openSystem(run));
  const log = await system.openTxLog({ signal: new AbortController().signal });
  run.defer(() => log.close());
  // If the log does not respond, whatever comes next fails in the same way.
  const problems = log.inspect === undefined ? [] : await unlessFailed(log.inspect(), ERROR_CODES, []);
  for (const { code, message, hint } of problems) run.notice(`${code}: ${message} ${hint ?? ""}`);
  return { log, system };
}

/** Throws `NOT_FOUND` for a log that does not exist; the stores and other nodes show whether it once existed. */
export async function requireIdentity(log: TxLog, system: System): Promise<LogIdentity> {
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw await noLog(log, system);
  return identity;
}

export async function noLog(log: TxLog, system: System): Promise<CairnError> {
  const message = `There is no log "${log.name}" there`;
  let found: Awaited<ReturnType<typeof lookBeforeBeginning>>;
  try {
    found = await lookBeforeBeginning(log, system);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return new CairnError(
      "NOT_FOUND",
      `${message}.`,
      `Solve this problem and run the command again, because only the log's checkpoints and its backup show whether there was one: ${error.code}: ${error.message}`,
    );
  }
  const { holders, cure, override } = found;
  if (holders.length > 0) {
    const hint = `Check the log's address and name. ${cure} ${override}`;
    return new CairnError("NOT_FOUND", `${message}, but ${holders.join("; ")}.`, hint);
  }
  return new CairnError(
    "NOT_FOUND",
    `${message} yet.`,
    "Start a node: the first node that starts creates the log.",
  );
}

/** Throws `LOG_READ_ONLY` if the configured log is read from its backup, so that no log can be begun in its place. */
export function requireLogItself({ backup }: TxLog): void {
  if (backup === undefined) return;
  throw new CairnError(
    "LOG_READ_ONLY",
    `This configuration reads the log from its backup in ${backup.location}, so no log can be begun with it.`,
    "Nothing was changed. Run the command with the configuration of a node that has access to the log itself (-f FILE); nodes that read the backup follow the new log.",
  );
}

export function savingStore(system: Pick<System, "checkpointer"> | undefined): CheckpointStore {
  if (system?.checkpointer === undefined) throw noStore();
  return system.checkpointer.store;
}

export function noStore(
  hint = "Name a folder of checkpoints or the path of a checkpoint, or s3://bucket/prefix.",
): UsageError {
  return new UsageError("The configuration has no checkpoint store.", hint);
}
