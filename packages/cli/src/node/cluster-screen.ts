import { clusterStatus, type ClusterView, isMember, type Peer } from "@cairn/engine";
import { exposedText } from "../terminal/backup-text.ts";
import { type Column, formatFields, formatTable, type TableOutput } from "../terminal/columns.ts";
import { formatCount, formatNumberOf, formatRelative } from "@cairn/text";
import { printable } from "../terminal/terminal.ts";
import { attachedText, findingFields, willLook } from "./status-screen.ts";
import type { Comparison, AnsweredIndex } from "./compare-nodes.ts";

export interface ComparedView extends ClusterView {
  readonly comparison: Comparison | undefined;
}

/** Formats the nodes of a log as a table with notes below it. `now` is in milliseconds since 1970. */
export function formatCluster(view: ComparedView, now: number, output: TableOutput): string {
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
    parts.push("", "These nodes belong to another log of the same name and were not compared:");
    const phase: Column<Peer> = ["PHASE", ({ status }) => status.phase];
    parts.push(formatTable([NODE, HOST, phase, TX, LOG], others, output));
  }
  const { findings } = clusterStatus(view, now);
  if (findings.length > 0) parts.push("", formatFields(findings.flatMap((one) => findingFields(one, now))));
  const notes = [
    ...own.flatMap(({ node, status }) => {
      const text = attachedText(status, now);
      return text === null ? [] : [`${node} ${text}.`];
    }),
    ...(view.past === undefined ? [] : pastNotes(view.past)),
    ...(view.comparison === undefined ? [] : comparisonNotes(view.comparison, own)),
  ];
  if (notes.length > 0) parts.push("", ...notes.map(printable));
  return parts.join("\n");
}

function logText({ name, id, lastTxId }: ClusterView["log"]): string {
  if (id === null || lastTxId === null) return `${name ?? "name unknown"} does not exist`;
  return `${name} (id ${id}), transactions up to ${formatCount(lastTxId)}`;
}

const NODE: Column<Peer> = ["NODE", ({ node }) => node];
const HOST: Column<Peer> = ["HOST", ({ host }) => host];
const TX: Column<Peer> = ["TX", ({ status }) => countOr(status.index.txId), "right"];
const LOG: Column<Peer> = ["LOG", ({ status }) => status.log.id ?? "unknown"];

function table(
  peers: readonly Peer[],
  { log, comparison, silent }: ComparedView,
  now: number,
  output: TableOutput,
): string {
  // Failed nodes may have another log, and joining nodes may not have one yet.
  const differ = peers.some(({ status }) => status.log.id !== log.id);
  const isBackedUp = peers.some(({ status }) => status.logBackup !== null);
  const columns: Column<Peer>[] = [
    NODE,
    HOST,
    ["VERSION", ({ status }) => status.version],
    ["PHASE", phaseText],
    TX,
    ["BEHIND", ({ status }) => countOr(status.index.lag), "right"],
    [
      "CHECKPOINT",
      (peer) => {
        const { last } = peer.status.checkpoints;
        if (last === null) return noneOrUnknown(peer);
        return `${formatCount(last.txId)}, ${formatRelative(last.takenAt, now)}`;
      },
    ],
    [
      "VERIFIED",
      (peer) => {
        const at = peer.status.checkpoints.lastVerified?.verifiedAt;
        return at === undefined ? noneOrUnknown(peer) : formatRelative(at, now);
      },
    ],
  ];
  if (isBackedUp)
    columns.push([
      "EXPOSED",
      ({ status: { logBackup } }) => (logBackup === null ? "unknown" : exposedText(logBackup, now)),
    ]);
  if (differ) columns.push(LOG);
  if (comparison !== undefined)
    columns.push([`DIGEST AT ${comparison.txId}`, (peer) => digestText(comparison, peer)]);
  const ofAny = columns.map(([name, cell, align]): Column<Peer | (typeof silent)[number]> => {
    const absent = name === "PHASE" ? "no response" : "unknown";
    return [name, (one) => ("status" in one ? cell(one) : name === "NODE" ? one.node : absent), align];
  });
  return formatTable(ofAny, [...peers, ...silent], output);
}

/** A node looks at the store only once it is ready. */
function noneOrUnknown({ status: { phase, checkpoints } }: Peer): string {
  return phase === "ready" && !willLook(checkpoints) ? "none" : "unknown";
}

function countOr(count: number | null): string {
  return count === null ? "unknown" : formatCount(count);
}

function phaseText({ status: { phase, progress, stalled } }: Peer): string {
  if (stalled !== null) return `${phase}, stalled`;
  if (progress === null || progress.total === 0) return phase;
  return `${phase}, ${Math.floor((100 * progress.done) / progress.total)} %`;
}

/** How many digits of a digest are shown, which is enough to distinguish a few digests. */
const SHOWN_DIGITS = 12;

function digestText({ answers, checks }: Comparison, { instance }: Peer): string {
  const { digest, error } = answers.get(instance) ?? {};
  if (digest === undefined) return error?.code ?? "none";
  const short = digest.digest.slice("sha256:".length).slice(0, SHOWN_DIGITS);
  const check = checks.get(instance)?.check;
  if (check === undefined) return short;
  return `${short} ${check.agrees ? "matches the log" : "INDEX_CORRUPT"}`;
}

function pastNotes({ txId, pasts, differ }: NonNullable<ClusterView["past"]>): string[] {
  if (differ !== undefined) return [];
  return [`The same past at transaction ${formatCount(txId)} on ${formatNumberOf(pasts.size, "node")}.`];
}

function comparisonNotes({ txId, answers, digests, checks }: Comparison, peers: readonly Peer[]): string[] {
  const failed = peers.flatMap(({ node, instance }) => {
    const error = answers.get(instance)?.error;
    return error === undefined ? [] : [`${node} returned no digest. ${error.code}: ${error.message}`];
  });
  const at = `at transaction ${formatCount(txId)}`;
  const compared = [...answers.values()].filter(({ digest }) => digest !== undefined).length;
  const nodes = formatNumberOf(compared, "node");
  const [digest] = digests;
  const same = digest === undefined ? [] : [`The same digest ${at} on ${nodes}: ${digest}`];
  const checked = peers.flatMap(({ node, instance }) => {
    const check = checks.get(instance);
    return check === undefined ? [] : [checkNote(node, check)];
  });
  return [...failed, ...(digests.size > 1 ? [`Different digests ${at} on ${nodes}.`] : same), ...checked];
}

function checkNote(node: string, { check, error }: AnsweredIndex): string {
  if (check === undefined)
    return `${node} could not compare its index with the log. ${error?.code ?? ""}: ${error?.message ?? ""}`;
  return check.agrees
    ? `${node} agrees with its rebuild from ${check.basis}.`
    : `${node}: INDEX_CORRUPT: its index did not match the log; the node replaced it with a rebuilt one.`;
}
