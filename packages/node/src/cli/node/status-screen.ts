import { styleText } from "node:util";
import type { Finding, NodeStatus } from "@cairn/client";
import { exposedText, rangeText } from "../terminal/backup-text.ts";
import { formatFields } from "../terminal/columns.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumberOf,
  formatRelative,
  formatTime,
} from "../../text/quantities.ts";
import { findingText } from "../../findings/findings.ts";
import { printable } from "../terminal/terminal.ts";

type Field = readonly [name: string, value: string];

/** Formats the body of GET /status for people. `now` is in milliseconds since 1970. */
export function formatStatus(status: NodeStatus, options: { now: number; colors: boolean }): string {
  const fields: Field[] = [
    ["Node", `${status.node} (Cairn ${status.version})`],
    ["Phase", phaseText(status, options.colors)],
    ...status.findings.flatMap((one) => findingFields(one, options.now)),
    ...nextTryFields(status, options.now),
    ["Log", logText(status)],
    ...readerFields(status, options.now),
    ["Index", indexText(status, options.now)],
    ["Documents", documentsText(status)],
    ...scrubFields(status, options.now),
    ["Joined", joinText(status)],
    ...skippedFields(status),
    ...checkpointFields(status, options.now),
    ...backupFields(status, options.now),
  ];
  // Messages quote text from outside, such as text from checkpoints. Only the phase may contain escape sequences, which
  // color it.
  return formatFields(fields.map(([name, value]) => [name, name === "Phase" ? value : printable(value)]));
}

const PHASE_COLORS = {
  ready: "green",
  restoring: "yellow",
  replaying: "yellow",
  stopping: "yellow",
  failed: "red",
} as const;

function phaseText({ phase, progress, join }: NodeStatus, colors: boolean): string {
  const name = colors ? styleText(PHASE_COLORS[phase], phase, { validateStream: false }) : phase;
  if (phase === "ready") {
    return join.readyAfterMs === null
      ? name
      : `${name} (${formatDuration(join.readyAfterMs)} after it started)`;
  }
  if (progress === null) return name;
  const { unit, done, total, etaMs } = progress;
  // A failed node makes progress only by retrying.
  const doing = phase === "failed" ? `${name}, retrying` : name;
  const amounts =
    unit === "bytes"
      ? `${formatBytes(done)} of ${formatBytes(total)}`
      : `${formatCount(done)} of ${formatNumberOf(total, "transaction")}`;
  const percent = total > 0 ? ` (${Math.floor((100 * done) / total)} %)` : "";
  return `${doing}: ${amounts}${percent}${etaMs === null ? "" : `, about ${formatDuration(etaMs)} left`}`;
}

const SEVERITY_NAMES = { failing: "Failing", attention: "Attention", notice: "Notice" } as const;

/** Returns a finding with the time since which it has been so, and what to do about it. */
export function findingFields({ severity, since, hint, ...said }: Finding, now: number): Field[] {
  const when = since === null ? "" : ` (since ${formatTime(since)}, ${formatRelative(since, now)})`;
  const text = findingText({ severity, since, hint: null, ...said }) + when;
  return [[SEVERITY_NAMES[severity], text], ...(hint === null ? [] : [["", hint] as const])];
}

function nextTryFields({ failure }: NodeStatus, now: number): Field[] {
  if (failure === null) return [];
  const { retries, nextTryAt } = failure;
  const waiting = retries
    ? "as soon as the node notices a change"
    : "none: the node has halted until it is restarted";
  return [["Next try", nextTryAt === null ? waiting : formatRelative(nextTryAt, now)]];
}

function logText({ log }: NodeStatus): string {
  const { name, location, id, firstTxId, lastTxId } = log;
  const who = `${name ?? "name unknown"}${id === null ? "" : ` (id ${id})`}`;
  if (lastTxId === null || firstTxId === null) {
    return `${who}, ${logState(log)}${location === null ? "" : ` (${location})`}`;
  }
  return `${who}, transactions ${formatCount(firstTxId)} to ${formatCount(lastTxId)}`;
}

function readerFields({ log }: NodeStatus, now: number): Field[] {
  const { backup } = log;
  if (backup === null) return [];
  const { location, newestSegmentAt: at } = backup;
  const newest =
    at === null ? "" : `; its newest segment was written at ${formatTime(at)}, ${formatRelative(at, now)}`;
  return [["Read from", `the log backup in ${location}${newest}`]];
}

function logState({ id, reachable, exists }: NodeStatus["log"]): string {
  if (exists === false) return id === null ? "not begun yet" : "no longer exists";
  if (reachable === null) return "not queried yet";
  // Called only if the log's range of transactions is unknown: either the log is empty, or the server's response does
  // not describe a log.
  if (reachable) return exists === true ? "empty" : "cannot be read";
  return "unreachable";
}

function indexText({ index }: NodeStatus, now: number): string {
  const time =
    index.txTime === null ? "" : ` of ${formatTime(index.txTime)}, ${formatRelative(index.txTime, now)}`;
  const lag =
    index.lag === null ? "" : index.lag === 0 ? "; up to date" : `; ${formatCount(index.lag)} behind`;
  if (index.txId === null) return "not open";
  return `transaction ${formatCount(index.txId)}${time}${lag}`;
}

function documentsText({ index: { documents, bytes } }: NodeStatus): string {
  if (documents === null || bytes === null) return "unknown until the index is open";
  return `${formatCount(documents)} in ${formatBytes(bytes)}`;
}

function scrubFields({ index }: NodeStatus, now: number): Field[] {
  const { lastScrub } = index;
  if (lastScrub === null) return [];
  const { at, durationMs, bytes } = lastScrub;
  const compared =
    bytes === 0
      ? "none, because the index has no tables yet"
      : `${formatBytes(bytes)} in ${formatDuration(durationMs)}`;
  return [["Scrubbed", `${compared}, ${formatRelative(at, now)}`]];
}

/** Returns the checkpoints and indexes that the node could not use since its last start. */
function skippedFields({ join }: NodeStatus): Field[] {
  const { skipped, movedAside } = join;
  return [
    ...skipped.map(({ name, code, message }): Field => ["Skipped", `${name}: ${code}, ${message}`]),
    ...movedAside.map(({ path, code, message }): Field => ["Moved aside", `${path}: ${code}, ${message}`]),
  ];
}

function joinText({ phase, join }: NodeStatus): string {
  const hasBegun = join.restoredFrom !== null || join.replayed > 0 || join.readyAfterMs !== null;
  if (!hasBegun && (phase === "restoring" || phase === "failed")) return "not yet";
  const replayed = `${join.replayed === 0 ? "nothing" : formatNumberOf(join.replayed, "transaction")} replayed`;
  if (join.restoredFrom === null) return `without a checkpoint, ${replayed}`;
  const { name, store } = join.restoredFrom;
  return `from ${name} in ${store}, ${replayed}`;
}

function checkpointFields({ checkpoints, join }: NodeStatus, now: number): Field[] {
  const { last, lastSaved, lastVerified, running, skipped, nextCheckAt } = checkpoints;
  const fields: Field[] = [
    [
      "Checkpoint",
      last === null
        ? noneKnown(join, checkpoints)
        : `${last.name}, ${formatBytes(last.bytes)}, ${formatDuration(last.ageMs)} old`,
    ],
  ];
  if (lastSaved !== null) {
    const { name, durationMs, at } = lastSaved;
    fields.push(["Saved here", `${name}, in ${formatDuration(durationMs)}, ${formatRelative(at, now)}`]);
  }
  if (lastVerified !== null) {
    const { name, node, ageMs, durationMs } = lastVerified;
    const took = durationMs === null ? "" : `, in ${formatDuration(durationMs)}`;
    fields.push(["Verified", `${name}, by ${node}${took}, ${formatDuration(ageMs)} ago`]);
  }
  if (running !== null) {
    const since = formatDuration(Math.max(0, now - Date.parse(running.startedAt)));
    fields.push(["Saving", `${running.step}, ${formatBytes(running.bytes)}, for ${since}`]);
  }
  if (skipped?.reason === "short-tail")
    fields.push(["Not due", `${skipped.because} (${formatRelative(skipped.at, now)})`]);
  if (nextCheckAt !== null) fields.push(["Next check", formatRelative(nextCheckAt, now)]);
  return fields;
}

function backupFields({ logBackup }: NodeStatus, now: number): Field[] {
  if (logBackup === null) return [];
  const { covered, segments, bytes, lastFailure } = logBackup;
  const held =
    covered === null || segments === null || bytes === null
      ? `unknown until ${lastFailure === null ? "the first look" : "a look succeeds"}`
      : covered.length === 0
        ? "nothing"
        : `${covered.map(rangeText).join(", ")} in ${formatNumberOf(segments, "segment")}, ${formatBytes(bytes)}`;
  return [["Log backup", `${held}; exposed: ${exposedText(logBackup, now)}`]];
}

/** Returns the reason why no checkpoint is shown. */
function noneKnown(
  { readyAfterMs }: NodeStatus["join"],
  { lastCheckAt, nextCheckAt, running }: NodeStatus["checkpoints"],
): string {
  if (readyAfterMs === null) return "unknown until the node is ready";
  // Without a checkpointer, a node never looks at the store.
  const willLook = lastCheckAt === null && (nextCheckAt !== null || running !== null);
  return willLook ? "unknown until the node has looked at the store" : "none yet";
}
