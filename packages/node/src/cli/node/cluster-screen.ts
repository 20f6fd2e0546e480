import { isCairnError } from "@cairn/kv";
import type { IndexAnswer, Peer } from "../../cluster/ask-cluster.ts";
import type { SilentNode } from "../../cluster/peer-messages.ts";
import type { Past, PastComparison } from "../../cluster/compare-pasts.ts";
import type { Comparison, OtherVersion } from "../../cluster/compare-nodes.ts";
import { sameIds } from "../../cluster/judge-digests.ts";
import { exposedText } from "../terminal/backup-text.ts";
import { formatTable, type TableOutput } from "../terminal/columns.ts";
import {
  formatCount,
  formatDuration,
  formatNumberOf,
  formatRelative,
  formatTime,
} from "../terminal/quantities.ts";
import { printable } from "../terminal/terminal.ts";

/** The state of a cluster. */
export interface ClusterView {
  /** The log; `id` and `lastTxId` are null if it does not exist. */
  readonly log: { readonly name: string; readonly id: string | null; readonly lastTxId: number | null };
  /** All nodes that responded, whether they belong to this cluster or to another one whose log has the same name. */
  readonly peers: readonly Peer[];
  /** The nodes of this log that did not respond although other nodes have heard from them within the last hour. */
  readonly silent: readonly SilentNode[];
  /** The comparison of the nodes' pasts; undefined if there are fewer than two nodes to compare. */
  readonly past: PastComparison | undefined;
  readonly comparison: Comparison | undefined;
}

/** Returns a predicate that is true for the nodes that have this log open. */
export function hasLog({ log }: Pick<ClusterView, "log">): (peer: Peer) => boolean {
  return ({ status }) => log.id !== null && status.log.id === log.id;
}

/**
 * Returns a predicate that is true for the nodes that belong to this cluster. A node that has not joined, or has
 * failed, knows at most the log of its index. Therefore only a node that follows another log belongs to another
 * cluster.
 */
export function isMember({ log }: Pick<ClusterView, "log">): (peer: Peer) => boolean {
  return ({ status: { phase, log: its } }) =>
    its.id === log.id || log.id === null || (phase !== "ready" && phase !== "replaying");
}

/** Formats the nodes of a log as a table with notes below it. `now` is in milliseconds since 1970. */
export function formatCluster(view: ClusterView, now: number, output: TableOutput): string {
  const isOwn = isMember(view);
  const own = view.peers.filter(isOwn);
  const others = view.peers.filter((peer) => !isOwn(peer));
  const missing = view.silent.length === 0 ? "" : `, ${formatCount(view.silent.length)} did not`;
  const answered = `${formatNumberOf(own.length, "node")} responded${missing}`;
  const parts = [
    `Log ${logText(view.log)}; ${answered}`,
    ...(own.length === 0 ? [] : ["", table(own, view, now, output)]),
  ];
  if (others.length > 0) {
    const rows = others.map(({ node, host, status }) => [
      node,
      host,
      status.phase,
      countOr(status.index.txId),
      status.log.id ?? "unknown",
    ]);
    parts.push("", "These nodes belong to another log of the same name and were not compared:");
    parts.push(formatTable(["NODE", "HOST", "PHASE", "TX", "LOG"], rows, ["TX"], output));
  }
  const notes = [
    ...sameIdNotes(view.peers),
    ...view.peers.flatMap(peerNotes),
    ...view.silent.map(
      ({ node, forMs }) => `${node}: no response; last heard from ${formatDuration(forMs)} ago.`,
    ),
    ...(view.past === undefined ? [] : pastNotes(view.past, own)),
    ...(view.comparison === undefined ? [] : comparisonNotes(view.comparison, own)),
  ];
  if (notes.length > 0) parts.push("", ...notes.map(printable));
  return parts.join("\n");
}

function logText({ name, id, lastTxId }: ClusterView["log"]): string {
  if (id === null || lastTxId === null) return `${name} does not exist`;
  return `${name} (id ${id}), transactions up to ${formatCount(lastTxId)}`;
}

function table(
  peers: readonly Peer[],
  { log, comparison, silent }: ClusterView,
  now: number,
  output: TableOutput,
): string {
  const heading = ["NODE", "HOST", "VERSION", "PHASE", "TX", "BEHIND", "CHECKPOINT", "VERIFIED"];
  // Failed nodes may have another log, and joining nodes may not have one yet.
  const differ = peers.some(({ status }) => status.log.id !== log.id);
  const isBackedUp = peers.some(({ status }) => isPresent(status.logBackup));
  const rows = peers.map((peer) => {
    const { version, phase, index, checkpoints } = peer.status;
    const { last, lastVerified } = checkpoints;
    // A node looks at the store only once it is ready.
    const nothing = phase === "ready" ? "none" : "unknown";
    const row = [
      peer.node,
      peer.host,
      version,
      phaseText(peer),
      countOr(index.txId),
      countOr(index.lag),
      last === null ? nothing : `${formatCount(last.txId)}, ${formatRelative(last.takenAt, now)}`,
      lastVerified === null ? nothing : formatRelative(lastVerified.verifiedAt, now),
    ];
    const { logBackup } = peer.status;
    return [
      ...row,
      ...(isBackedUp ? [isPresent(logBackup) ? exposedText(logBackup, now) : "unknown"] : []),
      ...(differ ? [peer.status.log.id ?? "unknown"] : []),
      ...(comparison === undefined ? [] : [digestText(comparison, peer)]),
    ];
  });
  const columns = [
    ...heading,
    ...(isBackedUp ? ["EXPOSED"] : []),
    ...(differ ? ["LOG"] : []),
    ...(comparison === undefined ? [] : [`DIGEST AT ${comparison.txId}`]),
  ];
  const absent = silent.map(({ node }) => [
    node,
    ...columns.slice(1).map((name) => (name === "PHASE" ? "no response" : "unknown")),
  ]);
  return formatTable(columns, [...rows, ...absent], ["TX", "BEHIND"], output);
}

function isPresent<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}

function countOr(count: number | null): string {
  return count === null ? "unknown" : formatCount(count);
}

function phaseText({ status: { phase, progress, stalled } }: Peer): string {
  if (stalled !== null && stalled !== undefined) return `${phase}, stalled`;
  if (progress === null || progress.total === 0) return phase;
  return `${phase}, ${Math.floor((100 * progress.done) / progress.total)} %`;
}

/** How many digits of a digest are shown, which is enough to distinguish a few digests. */
const SHOWN_DIGITS = 12;

function digestText({ answers, compared, rebuilt, checks }: Comparison, { instance, status }: Peer): string {
  const { digest, error } = answers.get(instance) ?? {};
  if (digest === undefined) return error?.code ?? "none";
  const short = digest.digest.slice("sha256:".length).slice(0, SHOWN_DIGITS);
  if (!compared.has(instance)) return `${short} of version ${status.index.version ?? "unknown"}`;
  if (rebuilt === undefined || isCairnError(rebuilt)) return short;
  if (digest.digest === rebuilt.digest) return `${short} matches the log`;
  return checks.get(instance)?.check?.agrees === false
    ? `${short} INDEX_CORRUPT`
    : `${short} differs from the log`;
}

function sameIdNotes(peers: readonly Peer[]): string[] {
  return sameIds(peers).map(({ node, peers: same }) => {
    const where = same.map(
      ({ host, pid, startedAt }) => `on ${host} (process ${pid}, since ${formatTime(startedAt)})`,
    );
    return `Give each node a different id (CAIRN_NODE_ID): ${node} is the id of ${same.length} nodes, ${where.join(" and ")}.`;
  });
}

function peerNotes({ node, status }: Peer): string[] {
  const { failure, stalled, join, index, checkpoints } = status;
  const notes: string[] = [];
  if (failure !== null) {
    const hint = failure.hint === null ? "" : ` ${failure.hint}`;
    notes.push(`${node}: ${failure.code}: ${failure.message}${hint}`);
  }
  const { divergence, warning } = index;
  if (warning !== undefined) notes.push(`${node}: ${warning.code}: ${warning.message} ${warning.hint}`);
  const { lastFailure, lastSaved } = checkpoints;
  // A checkpoint saved since the failure shows that the failure is over.
  if (lastFailure && !(lastSaved && lastSaved.at > lastFailure.at)) {
    const { code, message, hint } = lastFailure;
    notes.push(`${node}: no checkpoint was saved. ${code}: ${message}${hint === null ? "" : ` ${hint}`}`);
  }
  if (divergence !== null && divergence !== undefined) {
    const doing = divergence.state === "comparing" ? " It is comparing its index with a rebuild." : "";
    notes.push(`${node}: ${divergence.code}: ${divergence.message}${doing}`);
  }
  if (stalled !== null && stalled !== undefined) {
    notes.push(`${node}: no progress for ${formatDuration(stalled.forMs)}. ${stalled.message}`);
  }
  const backupFailure = status.logBackup?.lastFailure ?? null;
  if (backupFailure !== null) {
    const { code, message, hint } = backupFailure;
    notes.push(`${node}: the log is not backed up. ${code}: ${message} ${hint ?? ""}`.trimEnd());
  }
  for (const { code, message } of join.movedAside) {
    notes.push(`${node}: moved its index aside and built another one. ${code}: ${message}`);
  }
  if (join.orphans > 0) {
    const orphans = formatNumberOf(join.orphans, "transaction");
    notes.push(`${node}: ${orphans} only in its quarantine; cairn log orphans prints them`);
  }
  return notes;
}

/** Returns notes on the comparison of the nodes' pasts. */
function pastNotes({ txId, pasts, differ }: PastComparison, peers: readonly Peer[]): string[] {
  const at = `at transaction ${formatCount(txId)}`;
  if (differ === undefined) return [`The same past ${at} on ${formatNumberOf(pasts.size, "node")}.`];
  const shown = peers.flatMap(({ node, instance }) => {
    const past = pasts.get(instance);
    return past === undefined ? [] : [`${node} has ${differ} ${digits(past, differ)}`];
  });
  const what =
    differ === "history"
      ? "have different transactions"
      : "computed different results from the same transactions";
  return [`The nodes ${what} ${at}: ${shown.join(", ")}.`];
}

function digits(past: Past, differ: "history" | "effects"): string {
  return past[differ].slice(0, SHOWN_DIGITS);
}

function comparisonNotes(comparison: Comparison, peers: readonly Peer[]): string[] {
  const { txId, answers, verdict, rebuilt, checks } = comparison;
  const notes = peers.flatMap(({ node, instance }) => {
    const error = answers.get(instance)?.error;
    return error === undefined ? [] : [`${node} returned no digest. ${error.code}: ${error.message}`];
  });
  if (verdict.kind === "same") {
    const nodes = formatNumberOf(verdict.nodes, "node");
    notes.push(`The same digest at transaction ${formatCount(txId)} on ${nodes}: ${verdict.digest}`);
  } else if (verdict.kind === "differs") {
    notes.push(`The nodes differ at transaction ${formatCount(txId)}.`);
  }
  for (const other of comparison.others) notes.push(otherVersionNote(other, comparison, peers));
  if (rebuilt === undefined) return notes;
  if (isCairnError(rebuilt)) {
    const hint = rebuilt.hint === undefined ? "" : ` ${rebuilt.hint}`;
    return [...notes, `There is no rebuild to compare with. ${rebuilt.code}: ${rebuilt.message}${hint}`];
  }
  notes.push(`Rebuilt from ${rebuilt.basis}: ${rebuilt.digest}`);
  for (const { node, instance } of peers) {
    const check = checks.get(instance);
    if (check !== undefined) notes.push(checkNote(node, check));
  }
  return notes;
}

/** Returns a note on nodes of another index version, whose digests cannot be compared. */
function otherVersionNote(
  { version, peers: same, verdict }: OtherVersion,
  { compared }: Comparison,
  peers: readonly Peer[],
): string {
  const names = same.map(({ node }) => node).join(", ");
  const ownVersion = peers.find(({ instance }) => compared.has(instance))?.status.index.version ?? "unknown";
  const among = { same: "They agree with one another.", differs: "They differ from one another.", none: "" };
  const alone = same.length === 1 ? "" : ` ${among[verdict.kind]}`;
  return `Index version ${version ?? "unknown"}, not compared with version ${ownVersion}: ${names}.${alone}`.trimEnd();
}

function checkNote(node: string, { check, error }: IndexAnswer): string {
  if (check === undefined) {
    return `${node} differs from the rebuild and could not check itself. ${error?.code ?? ""}: ${error?.message ?? ""}`;
  }
  return check.agrees
    ? `${node} differs from the rebuild, but agrees with its own rebuild from ${check.basis}.`
    : `${node}: INDEX_CORRUPT: its index did not match the log; the node replaced it with a rebuilt one.`;
}
