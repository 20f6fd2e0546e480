import { readFile } from "node:fs/promises";
import type { NodeStatus } from "@cairn/client";
import { type CheckpointStore, listRetained } from "@cairn/checkpoint";
import {
  dbDirLayout,
  INDEX_VERSION,
  listBackups,
  restoreStores,
  surveyBackup,
  type System,
} from "@cairn/engine";
import { CairnError, isCairnError, LEVEL_FORMAT, unlessFailed } from "@cairn/kv";
import { formatCount, formatRelative, formatTime } from "@cairn/text";
import type { ConfiguredRun } from "../options/configuration.ts";
import { openLog, requireIdentity } from "../places/configured-system.ts";
import { copyNodeIndex } from "../places/copied-index.ts";
import { isRunning } from "../places/staging-folder.ts";
import { formatFields } from "../terminal/columns.ts";

/** What one of the places that nodes need holds, or why that is unknown. */
interface Place {
  readonly what: "Log" | "Store" | "Index";
  readonly message: string;
  readonly error: CairnError | undefined;
}

/**
 * Writes what the log, the stores and the folder of this machine's node hold, and throws the error that says what to do
 * first. `silence` is the error that says that no node responds. `asking` is the status of the node at the configured
 * address, which may respond by itself.
 */
export async function writeWithoutNodes(
  run: ConfiguredRun,
  system: System,
  silence: CairnError,
  asking: Promise<NodeStatus | undefined>,
): Promise<never> {
  let logId: string | undefined;
  const readLog = async (): Promise<string> => {
    const { log } = await openLog(run, system);
    const { id, name, bounds, birth } = await requireIdentity(log, system);
    logId = id;
    const { last } = bounds;
    const time = bounds.lastTime ?? (await log.fetch(last))?.time;
    const until = time === undefined ? "" : `, the last one at ${formatTime(new Date(time).toISOString())}`;
    return `${name} (id ${id}), transactions up to ${formatCount(last + (birth?.offset ?? 0))}${until}`;
  };
  const log = await placeOf("Log", readLog());
  const stores = await Promise.all(
    restoreStores(system).map((store) => placeOf("Store", readStore(store, logId), store.location)),
  );
  const index = await placeOf("Index", readIndex(run, system));
  const places = [log, ...stores, index];
  const error = await firstStep(silence, log, await asking, system);
  const fields = formatFields(places.map(({ what, message }) => [what, message]));
  const { code, message, hint = null } = error;
  const answer = {
    nodes: [],
    places: places.map(({ what, message: said, error: found }) => ({
      place: what.toLowerCase(),
      message: said,
      error: found?.code ?? null,
    })),
    verdict: { state: "failing", message: `${code}: ${message}`, hint },
  };
  await run.report(answer, fields);
  throw error;
}

async function placeOf(what: Place["what"], reading: Promise<string>, where?: string): Promise<Place> {
  const named = (message: string): string => (where === undefined ? message : `${where}: ${message}`);
  try {
    return { what, message: named(await reading), error: undefined };
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return { what, message: named(`${error.code}: ${error.message}`), error };
  }
}

async function readStore(store: CheckpointStore, logId: string | undefined): Promise<string> {
  const now = Date.now();
  const format = { index: INDEX_VERSION, kv: LEVEL_FORMAT };
  const { checkpoints, skipped } = await listRetained({ store, format });
  const whole = checkpoints.filter(({ log, damaged }) => !damaged && (logId ?? log.id) === log.id);
  const damaged = skipped.length + checkpoints.filter((one) => one.damaged).length;
  const [newest] = whole;
  const said = [
    newest === undefined
      ? "no usable checkpoint"
      : `checkpoint of transaction ${formatCount(newest.txId)}, ${formatRelative(newest.takenAt, now)}${newest.verified ? ", verified" : ""}`,
    ...(damaged === 0 ? [] : [`${formatCount(damaged)} damaged or unreadable`]),
  ];
  const backups = logId === undefined && newest === undefined ? await listBackups(store) : [];
  const id = logId ?? newest?.log.id ?? (backups.length === 1 ? backups[0] : undefined);
  const backup = id === undefined ? undefined : await surveyBackup(store, id);
  const range = backup?.covered.at(-1);
  if (range !== undefined) said.push(`log backup up to transaction ${formatCount(range.last)}`);
  return said.join("; ");
}

async function readIndex(run: ConfiguredRun, system: System): Promise<string> {
  const { dbDir } = system;
  const { copy, unread } = await copyNodeIndex(run, system);
  if (copy !== undefined) return `${dbDir}, transactions up to ${formatCount(copy.state.txId)}`;
  return unread ?? `${dbDir} has none`;
}

/** Returns the process that used the db-dir last, if it is running on this machine. */
async function holderOf({ dbDir }: System): Promise<number | undefined> {
  const text = await unlessFailed(readFile(dbDirLayout(dbDir).holder, "utf8"), ["ENOENT", "EACCES"], "");
  const pid = Number(/"pid":(\d+)/.exec(text)?.[1] ?? 0);
  return pid > 0 && isRunning(pid) ? pid : undefined;
}

/** Returns the error whose hint comes first: no node can run without its log, and one that responds must not be ended. */
async function firstStep(
  silence: CairnError,
  log: Place,
  own: NodeStatus | undefined,
  system: System,
): Promise<CairnError> {
  if (log.error?.code === "LOG_UNREACHABLE") return log.error;
  const { message, hint } = silence;
  if (own?.node === system.nodeId) {
    const { node, verdict } = own;
    const said = `${message} The node of this machine responds by itself: ${node}: ${verdict.message}`;
    return new CairnError("NOT_READY", said, verdict.hint ?? hint);
  }
  const holder = await holderOf(system);
  if (holder !== undefined)
    return new CairnError(
      "NOT_READY",
      `${message} Process ${holder}, which used ${system.dbDir} last, is running.`,
      `See the last lines of its log. If it is stopped or frozen (ps -o stat,pid,args -p ${holder} shows T), resume it (kill -CONT ${holder}). Otherwise, end it and start the node again (cairn start).`,
    );
  if (log.error !== undefined) return log.error;
  return new CairnError(
    "NOT_READY",
    `${message} Until a node runs, nothing can be read or written; the log holds everything that was acknowledged.`,
    hint,
  );
}
