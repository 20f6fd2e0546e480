import { styleText } from "node:util";
import type { Finding, LogBackupStatus, NodeStatus, OwnIndexStatus } from "@cairn/client";
import { exposedText, rangeText } from "../terminal/backup-text.ts";
import { type Field, formatFields } from "../terminal/columns.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumberOf,
  formatRelative,
  formatTime,
} from "@cairn/text";
import { findingText } from "@cairn/engine";

type Phase = NodeStatus["phase"];

/** Formats the body of GET /status for people. `now` is in milliseconds since 1970. */
export function formatStatus(status: NodeStatus, { now, colors }: { now: number; colors: boolean }): string {
  const { node, version, findings, failure, log, index, ownIndexes, join } = status;
  const fields: Field[] = [
    ["Node", `${node} (Cairn ${version})`],
    ["Phase", phaseText(status)],
    ["Attached", attachedText(status, now)],
    ...findings.flatMap((one) => findingFields(one, now)),
    ["Next try", failure && nextTry(failure, now)],
    ["Log", logText(log)],
    ["Read from", log.backup && readerText(log.backup, now)],
    ["Index", indexText(index, now)],
    ["Documents", documentsText(index)],
    // Earlier versions have none.
    ...(ownIndexes ?? []).map((own): Field => ["Own index", ownIndexText(own, now)]),
    ["Scrubbed", index.lastScrub && scrubText(index.lastScrub, now)],
    ["Joined", joinText(status)],
    // The checkpoints and indexes that the node could not use since its last start.
    ...join.skipped.flatMap(skippedFields),
    ...join.movedAside.map(({ path, code, message }): Field => [
      "Moved aside",
      `${path}: ${code}, ${message}`,
    ]),
    ...checkpointFields(status, now),
    ["Log backup", status.logBackup && backupText(status.logBackup, now)],
  ];
  const text = formatFields(fields);
  // No other text may contain escape sequences.
  return colors
    ? text.replace(/^(Phase +)(\w+)/m, (_, name: string, phase: Phase) => name + colored(phase))
    : text;
}

function skippedFields({
  name,
  store,
  code,
  message,
  others,
}: NodeStatus["join"]["skipped"][number]): Field[] {
  const field: Field = ["Skipped", `${name}: ${code}, ${message}`];
  // Earlier versions list all of them.
  if ((others ?? 0) === 0) return [field];
  return [field, ["", `and ${formatNumberOf(others, "other")} in ${store}: ${code}`]];
}

const PHASE_COLORS = {
  ready: "green",
  restoring: "yellow",
  replaying: "yellow",
  stopping: "yellow",
  failed: "red",
} as const;

function colored(phase: Phase): string {
  return styleText(PHASE_COLORS[phase], phase, { validateStream: false });
}

function phaseText({ phase, progress, join }: NodeStatus): string {
  if (phase === "ready") {
    return join.readyAfterMs === null
      ? phase
      : `${phase} (${formatDuration(join.readyAfterMs)} after it started)`;
  }
  if (progress === null) return phase;
  const { unit, done, total, etaMs } = progress;
  // A failed node makes progress only by retrying.
  const doing = phase === "failed" ? `${phase}, retrying` : phase;
  const amounts =
    unit === "bytes"
      ? `${formatBytes(done)} of ${formatBytes(total)}`
      : `${formatCount(done)} of ${formatNumberOf(total, "transaction")}`;
  const percent = total > 0 ? ` (${Math.floor((100 * done) / total)} %)` : "";
  return `${doing}: ${amounts}${percent}${etaMs === null ? "" : `, about ${formatDuration(etaMs)} left`}`;
}

/** Returns from what a node serves stale reads while it restores; null if from nothing. Earlier versions never do. */
export function attachedText(
  { attached, progress }: Pick<NodeStatus, "attached" | "progress">,
  now: number,
): string | null {
  if (!attached) return null;
  const { checkpoint, txId, takenAt } = attached;
  const serves = `serves stale reads as of transaction ${formatCount(txId)}, ${formatRelative(takenAt, now)}, from ${checkpoint}`;
  if (!progress || progress.total === 0) return serves;
  const { done, total, etaMs } = progress;
  const rest = etaMs === null ? "" : `, whole in ${formatDuration(etaMs)}`;
  return `${serves}; ${Math.floor((100 * done) / total)} % here${rest}`;
}

const SEVERITY_NAMES = { failing: "Failing", attention: "Attention", notice: "Notice" } as const;

/** Returns what is wrong and since when, what waiting costs, and what to do. */
export function findingFields(
  { severity, since, hint, ...said }: Finding & { readonly node?: string | null },
  now: number,
): Field[] {
  const when = since === null ? "" : ` (since ${formatTime(since)}, ${formatRelative(since, now)})`;
  return [
    [SEVERITY_NAMES[severity], findingText({ severity, since, hint: null, ...said }) + when],
    ["", `Meanwhile, ${said.meanwhile}`],
    ["", hint],
  ];
}

function nextTry({ retries, nextTryAt }: NonNullable<NodeStatus["failure"]>, now: number): string {
  if (nextTryAt !== null) return formatRelative(nextTryAt, now);
  return retries ? "as soon as the node notices a change" : "none: the node has halted until it is restarted";
}

function logText(log: NodeStatus["log"]): string {
  const { name, location, id, firstTxId, lastTxId } = log;
  const who = `${name ?? "name unknown"}${id === null ? "" : ` (id ${id})`}`;
  if (lastTxId === null) return `${who}, ${logState(log)}${location === null ? "" : ` (${location})`}`;
  if (firstTxId === null) return `${who}, emptied after transaction ${formatCount(lastTxId)}`;
  return `${who}, transactions ${formatCount(firstTxId)} to ${formatCount(lastTxId)}`;
}

function readerText(
  { location, newestSegmentAt: at }: NonNullable<NodeStatus["log"]["backup"]>,
  now: number,
): string {
  const newest =
    at === null ? "" : `; its newest segment was written at ${formatTime(at)}, ${formatRelative(at, now)}`;
  return `the log backup in ${location}${newest}`;
}

function logState({ id, reachable, exists }: NodeStatus["log"]): string {
  if (exists === false) return id === null ? "not begun yet" : "no longer exists";
  if (reachable === null) return "not queried yet";
  // A log that exists has held a transaction, and one that was emptied knows its last one.
  if (reachable) return exists === true ? "not read yet" : "cannot be read";
  return "unreachable";
}

function indexText({ txId, txTime, lag }: NodeStatus["index"], now: number): string {
  if (txId === null) return "not open";
  const time = txTime === null ? "" : ` of ${formatTime(txTime)}, ${formatRelative(txTime, now)}`;
  const behind = lag === null ? "" : lag === 0 ? "; up to date" : `; ${formatCount(lag)} behind`;
  return `transaction ${formatCount(txId)}${time}${behind}`;
}

function documentsText({ documents, bytes }: NodeStatus["index"]): string {
  if (documents === null) return "unknown until the index is open";
  return `${formatCount(documents)} in ${bytes === null ? "files of unknown size" : formatBytes(bytes)}`;
}

/** The reason of a failure is a finding. */
function ownIndexText(own: OwnIndexStatus, now: number): string {
  const { name, version, state, txId, served, built, failure } = own;
  const documents = built === null ? "" : `, ${formatNumberOf(built, "document")} so far`;
  const place = txId === null ? "" : `, transaction ${formatCount(txId)}`;
  const meanwhile = state !== "building" || served === null ? "" : `; version ${served} answers meanwhile`;
  const next =
    state !== "failed" || failure === null ? "" : `, next try ${formatRelative(failure.nextTryAt, now)}`;
  return `${name} ${version}: ${state}${documents}${place}${meanwhile}${next}`;
}

function scrubText(
  { at, durationMs, bytes }: NonNullable<NodeStatus["index"]["lastScrub"]>,
  now: number,
): string {
  const ago = formatRelative(at, now);
  if (bytes === 0) return `${ago}; the index had no tables to compare yet`;
  return `${formatBytes(bytes)} in ${formatDuration(durationMs)}, ${ago}`;
}

function joinText({ phase, join }: NodeStatus): string {
  const hasBegun = join.restoredFrom !== null || join.replayed > 0 || join.readyAfterMs !== null;
  if (!hasBegun && (phase === "restoring" || phase === "failed")) return "not yet";
  const replayed = `${join.replayed === 0 ? "nothing" : formatNumberOf(join.replayed, "transaction")} replayed`;
  if (join.restoredFrom === null) return `without a checkpoint, ${replayed}`;
  const { name, store } = join.restoredFrom;
  return `from ${name} in ${store}, ${replayed}`;
}

function took(ms: number | null): string {
  return ms === null ? "" : `, in ${formatDuration(ms)}`;
}

function checkpointFields({ phase, checkpoints }: NodeStatus, now: number): Field[] {
  const { last, lastSaved: saved, lastVerified: verified, running, nextCheckAt } = checkpoints;
  return [
    [
      "Checkpoint",
      last === null
        ? noneKnown(phase, checkpoints)
        : `${last.name}, ${formatBytes(last.bytes)}, ${formatDuration(last.ageMs)} old`,
    ],
    ["Saved here", saved && `${saved.name}${took(saved.durationMs)}, ${formatRelative(saved.at, now)}`],
    [
      "Verified",
      verified &&
        `${verified.name}, by ${verified.node}${took(verified.durationMs)}, ${formatDuration(verified.ageMs)} ago`,
    ],
    [
      "Saving",
      running &&
        `${running.step}, ${formatBytes(running.bytes)}, for ${formatDuration(Math.max(0, now - Date.parse(running.startedAt)))}`,
    ],
    ["Next check", nextCheckAt && formatRelative(nextCheckAt, now)],
  ];
}

function backupText(backup: LogBackupStatus, now: number): string {
  const { covered, segments, bytes, lastFailure } = backup;
  const held =
    covered === null || segments === null || bytes === null
      ? `unknown until ${lastFailure === null ? "the first look" : "a look succeeds"}`
      : covered.length === 0
        ? "nothing"
        : `${covered.map(rangeText).join(", ")} in ${formatNumberOf(segments, "segment")}, ${formatBytes(bytes)}`;
  return `${held}; exposed: ${exposedText(backup, now)}`;
}

function noneKnown(phase: Phase, checkpoints: NodeStatus["checkpoints"]): string {
  if (phase !== "ready") return "unknown until the node is ready";
  return willLook(checkpoints) ? "unknown until the node has looked at the store" : "none yet";
}

/** Whether the node's first look at the store is still to come. Without a checkpointer, it never looks. */
export function willLook({ lastCheckAt, nextCheckAt, running }: NodeStatus["checkpoints"]): boolean {
  return lastCheckAt === null && (nextCheckAt !== null || running !== null);
}
