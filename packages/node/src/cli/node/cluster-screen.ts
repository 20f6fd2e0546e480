import { isCairnError } from "@cairn/kv";
import type { IndexAnswer, Peer } from "../../cluster/ask-cluster.ts";
import type { PastComparison } from "../../cluster/compare-pasts.ts";
import type { Comparison, OtherVersion } from "../../cluster/compare-nodes.ts";
import { sameIds } from "../../cluster/judge-digests.ts";
import { formatTable } from "../terminal/columns.ts";
import {
  formatCount,
  formatDuration,
  formatNumberOf,
  formatRelative,
  formatTime,
} from "../terminal/quantities.ts";
import { pastNotes } from "./past-notes.ts";
import { printable } from "../terminal/terminal.ts";

/** All that a look at a cluster found. */
export interface ClusterView {
  readonly log: { readonly name: string; readonly id: string; readonly lastTxId: number };
  /** All that answered, of this log or of another one of its name. */
  readonly peers: readonly Peer[];
  /** Undefined where there are not two to compare. */
  readonly past: PastComparison | undefined;
  readonly comparison: Comparison | undefined;
}

/** Whether a node's answer tells of this log. */
export function ofThisLog({ log }: Pick<ClusterView, "log">): (peer: Peer) => boolean {
  return ({ status }) => status.log.id === log.id;
}

/** The nodes of a log as a screen for people: one a line, and below what somebody should know. `now` in milliseconds since 1970. */
export function formatCluster(view: ClusterView, now: number): string {
  const own = view.peers.filter(ofThisLog(view));
  const others = view.peers.filter((peer) => !ofThisLog(view)(peer));
  const { name, id, lastTxId } = view.log;
  const answered = `${formatNumberOf(own.length, "node")} answered`;
  const parts = [
    `Log ${name} (id ${id}), transactions up to ${formatCount(lastTxId)}; ${answered}`,
    ...(own.length === 0 ? [] : ["", table(own, view.comparison, now)]),
  ];
  if (others.length > 0) {
    const rows = others.map(({ node, host, status }) => [
      node,
      host,
      status.phase,
      formatCount(status.index.txId),
      status.log.id ?? "unknown",
    ]);
    parts.push("", "Of another log under the same name, and not compared with the others:");
    parts.push(formatTable(["NODE", "HOST", "PHASE", "TX", "LOG"], rows, ["TX"]));
  }
  const notes = [
    ...sameIdNotes(view.peers),
    ...view.peers.flatMap(peerNotes),
    ...(view.past === undefined ? [] : pastNotes(view.past, own)),
    ...(view.comparison === undefined ? [] : comparisonNotes(view.comparison, own)),
  ];
  if (notes.length > 0) parts.push("", ...notes.map(printable));
  return parts.join("\n");
}

function table(peers: readonly Peer[], comparison: Comparison | undefined, now: number): string {
  const heading = ["NODE", "HOST", "VERSION", "PHASE", "TX", "BEHIND", "CHECKPOINT", "VERIFIED"];
  const rows = peers.map((peer) => {
    const { version, index, checkpoints } = peer.status;
    const { last, lastVerified } = checkpoints;
    const row = [
      peer.node,
      peer.host,
      version,
      phaseText(peer),
      formatCount(index.txId),
      index.lag === null ? "unknown" : formatCount(index.lag),
      last === null ? "none" : `${formatCount(last.txId)}, ${formatRelative(last.takenAt, now)}`,
      lastVerified === null ? "none" : formatRelative(lastVerified.verifiedAt, now),
    ];
    return comparison === undefined ? row : [...row, digestText(comparison, peer)];
  });
  const columns = comparison === undefined ? heading : [...heading, `DIGEST AT ${comparison.txId}`];
  return formatTable(columns, rows, ["TX", "BEHIND"]);
}

function phaseText({ status: { phase, progress, stalled } }: Peer): string {
  if (stalled !== null && stalled !== undefined) return `${phase}, stalled`;
  if (progress === null || progress.total === 0) return phase;
  return `${phase}, ${Math.floor((100 * progress.done) / progress.total)} %`;
}

/** So much of a digest as tells a few of them apart. */
const SHOWN_DIGITS = 12;

function digestText({ answers, compared, rebuilt, checks }: Comparison, { instance, status }: Peer): string {
  const { digest, error } = answers.get(instance) ?? {};
  if (digest === undefined) return error?.code ?? "none";
  const short = digest.digest.slice("sha256:".length).slice(0, SHOWN_DIGITS);
  if (!compared.has(instance)) return `${short} of version ${status.index.version ?? "unknown"}`;
  if (rebuilt === undefined || isCairnError(rebuilt)) return short;
  if (digest.digest === rebuilt.digest) return `${short} as the log`;
  return checks.get(instance)?.check?.agrees === false ? `${short} INDEX_CORRUPT` : `${short} not as the log`;
}

function sameIdNotes(peers: readonly Peer[]): string[] {
  return sameIds(peers).map(({ node, peers: same }) => {
    const where = same.map(
      ({ host, pid, startedAt }) => `on ${host} (process ${pid}, since ${formatTime(startedAt)})`,
    );
    return `${node} is the id of ${same.length} nodes: ${where.join(" and ")}. Give each an id of its own (CAIRN_NODE_ID).`;
  });
}

function peerNotes({ node, status }: Peer): string[] {
  const { failure, stalled, join, index } = status;
  const notes: string[] = [];
  if (failure !== null) {
    const hint = failure.hint === null ? "" : ` ${failure.hint}`;
    notes.push(`${node}: ${failure.code}: ${failure.message}${hint}`);
  }
  const { divergence } = index;
  if (divergence !== null && divergence !== undefined) {
    const doing = divergence.state === "comparing" ? " It is comparing its index with a rebuild." : "";
    notes.push(`${node}: ${divergence.code}: ${divergence.message}${doing}`);
  }
  if (stalled !== null && stalled !== undefined) {
    notes.push(`${node}: nothing has moved for ${formatDuration(stalled.forMs)}. ${stalled.message}`);
  }
  for (const { code, message } of join.movedAside) {
    notes.push(`${node}: moved its index aside and built another. ${code}: ${message}`);
  }
  if (join.orphans > 0) {
    const orphans = formatNumberOf(join.orphans, "transaction");
    notes.push(`${node}: ${orphans} only in its quarantine: cairn log orphans`);
  }
  return notes;
}

function comparisonNotes(comparison: Comparison, peers: readonly Peer[]): string[] {
  const { txId, answers, verdict, rebuilt, checks } = comparison;
  const notes = peers.flatMap(({ node, instance }) => {
    const error = answers.get(instance)?.error;
    return error === undefined ? [] : [`${node} gave no digest. ${error.code}: ${error.message}`];
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
    return [...notes, `No rebuild to compare with. ${rebuilt.code}: ${rebuilt.message}${hint}`];
  }
  notes.push(`Rebuilt from ${rebuilt.basis}: ${rebuilt.digest}`);
  for (const { node, instance } of peers) {
    const check = checks.get(instance);
    if (check !== undefined) notes.push(checkNote(node, check));
  }
  return notes;
}

/** Digests of different versions say nothing about each other. */
function otherVersionNote(
  { version, peers: same, verdict }: OtherVersion,
  { compared }: Comparison,
  peers: readonly Peer[],
): string {
  const names = same.map(({ node }) => node).join(", ");
  const ownVersion = peers.find(({ instance }) => compared.has(instance))?.status.index.version ?? "unknown";
  const among = { same: "They agree with one another.", differs: "They differ from one another.", none: "" };
  const alone = same.length === 1 ? "" : ` ${among[verdict.kind]}`;
  return `Of index version ${version ?? "unknown"}, and not compared with those of version ${ownVersion}: ${names}.${alone}`.trimEnd();
}

function checkNote(node: string, { check, error }: IndexAnswer): string {
  if (check === undefined) {
    return `${node} differs from it and could not see for itself. ${error?.code ?? ""}: ${error?.message ?? ""}`;
  }
  return check.agrees
    ? `${node} differs from it, but agrees with its own rebuild from ${check.basis}.`
    : `${node}: INDEX_CORRUPT: its index is not what the log gives; it left it and goes on from a rebuilt one.`;
}
