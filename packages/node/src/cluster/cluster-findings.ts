import type { ClusterFinding, ClusterVerdict, PeerStatus } from "@cairn/client";
import { formatBytes, formatCount, formatDuration, formatNumberOf, formatTime } from "../text/quantities.ts";
import type { Peer } from "./ask-cluster.ts";
import { type ClusterView, hasLog, isMember } from "./cluster-view.ts";
import type { Past, PastComparison } from "./compare-pasts.ts";
import { sameIds } from "./judge-digests.ts";

type Severity = ClusterFinding["severity"];

/** A finding about a node, without the parts that its caller adds. */
type NodeFinding = Omit<ClusterFinding, "node">;

/** The order of severities, from the worst. */
const SEVERITIES: readonly Severity[] = ["failing", "attention", "notice"];

/**
 * The age of the newest checkpoint, in periods, from which it is overdue if there are newer transactions. If every
 * upload succeeds, the longest gap between two checkpoints is 1.1 periods (packages/checkpoint/src/save/schedule.ts).
 * If one round fails, for example because its node is stopped, the next one follows after another 1.1 periods at the
 * latest. A gap of more than twice that therefore means that several rounds have failed.
 */
const OVERDUE_PERIODS = 2 * 1.1;
/** How long a checkpoint may additionally be late, because nodes look at the store only now and then (ms). */
const OVERDUE_GRACE_MS = 60_000;

/** Free space below which a disk is reported even if the index is small. */
const LOW_DISK_BYTES = 256 * 1024 * 1024;

/** The hint for nodes that did not respond. */
export const SILENT_HINT =
  "Resume or restart a node that is frozen, was killed, or is cut off from NATS. The other nodes forget it after an hour.";

/** The hint for nodes whose pasts differ. */
export const DIFFERENT_PAST_HINT =
  "Wait a few minutes and run the command again: one after another, the nodes compare their indexes with a rebuild from the log and replace a wrong one. " +
  "To compare them now, run cairn status --cluster --digest.";

/** Returns everything about a cluster that an operator should know, worst first. `now` is in milliseconds since 1970. */
export function clusterFindings(view: ClusterView, now: number): ClusterFinding[] {
  const members = view.peers.filter(isMember(view));
  const findings = [
    ...sameIdFindings(view.peers),
    ...members.flatMap(({ node, status }) => nodeFindings(status).map((one) => ({ ...one, node }))),
    ...view.silent.map(({ node, forMs }) => ({
      ...failing(null, `no response; last heard from ${formatDuration(forMs)} ago.`, SILENT_HINT),
      since: new Date(now - forMs).toISOString(),
      node,
    })),
    ...pastFindings(view.past, members),
    ...overdueFindings(members.filter(hasLog(view)), now),
  ];
  return findings.toSorted((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
}

/** Returns the verdict on a cluster with these findings, worst first. */
export function clusterVerdict(view: ClusterView, findings: readonly ClusterFinding[]): ClusterVerdict {
  const [worst] = findings;
  if (worst !== undefined && worst.severity !== "notice") {
    const state = worst.severity === "failing" ? "failing" : "attention";
    return { state, message: findingText({ ...worst, hint: null }), hint: worst.hint };
  }
  const members = view.peers.filter(isMember(view));
  const ready = members.filter(({ status }) => status.phase === "ready").length;
  const others = members.length - ready;
  if (ready === 0) {
    return {
      state: "attention",
      message: `No node is ready yet; ${formatNumberOf(others, "node")} responded.`,
      hint: "Wait until a node is ready: cairn status --wait PT30S.",
    };
  }
  const joining = others === 0 ? "" : `, and ${formatCount(others)} not yet`;
  return {
    state: "well",
    message: `${formatNumberOf(ready, "node")} ${ready === 1 ? "is" : "are"} ready${joining}.`,
    hint: null,
  };
}

/** Formats a finding as one line. */
export function findingText({ node, code, message, hint }: ClusterFinding): string {
  const who = node === null ? "" : `${node}: `;
  const what = code === null ? "" : `${code}: `;
  return `${who}${what}${message}${hint === null ? "" : ` ${hint}`}`;
}

/** Returns the finding that nodes could not be asked, because of this error. */
export function notAsked(
  node: string,
  error: { readonly code: string; readonly message: string; readonly hint?: string | undefined },
): ClusterFinding {
  const { code, message, hint = null } = error;
  return { ...failing(code, `The other nodes could not be asked. ${message}`, hint), node };
}

/** Returns what is wrong with a single node. */
function nodeFindings(status: PeerStatus): NodeFinding[] {
  return [
    ...lifeFindings(status),
    ...logFindings(status),
    ...indexFindings(status),
    ...checkpointFindings(status),
    ...backupFindings(status),
    ...joinFindings(status),
    ...diskFindings(status),
  ];
}

function lifeFindings({ phase, failure, stalled }: PeerStatus): NodeFinding[] {
  const findings: NodeFinding[] = [];
  if (failure !== null) {
    const severity = phase === "failed" ? "failing" : "attention";
    findings.push(finding(severity, failure.code, failure.message, failure.hint));
  }
  if (stalled !== null) {
    const message = `no progress for ${formatDuration(stalled.forMs)}. ${stalled.message}`;
    findings.push({ ...failing(null, message, null), since: stalled.since });
  }
  return findings;
}

function logFindings({ log, failure }: PeerStatus): NodeFinding[] {
  return log.warnings
    .filter(({ message }) => message !== failure?.message)
    .map(({ code, message, hint }) => finding("attention", code, message, hint));
}

function indexFindings({ index: { divergence, warning } }: PeerStatus): NodeFinding[] {
  const findings: NodeFinding[] = [];
  if (warning !== undefined) findings.push(finding("attention", warning.code, warning.message, warning.hint));
  if (divergence !== null) {
    const { code, message, state, hint, since } = divergence;
    const doing = state === "comparing" ? " It is comparing its index with a rebuild." : "";
    findings.push({ ...failing(code, message + doing, hint), since });
  }
  return findings;
}

function checkpointFindings({ checkpoints }: PeerStatus): NodeFinding[] {
  const { lastFailure, lastSaved, lastCheckAt, lastDrill, lastVerified, warnings } = checkpoints;
  const findings: NodeFinding[] = [];
  // A checkpoint that was saved, or a look that succeeded, shows that an earlier failure is over.
  if (
    lastFailure !== null &&
    !isAfter(lastSaved?.at, lastFailure.at) &&
    !isAfter(lastCheckAt, lastFailure.at)
  ) {
    const { at, code, message, hint } = lastFailure;
    findings.push({ ...finding("attention", code, `No checkpoint was saved. ${message}`, hint), since: at });
  }
  if (lastDrill?.outcome === "failed" && !isAfter(lastVerified?.verifiedAt, lastDrill.at)) {
    const { at, code, message, hint } = lastDrill;
    const what = `A checkpoint could not be verified. ${message ?? ""}`.trimEnd();
    findings.push({ ...finding("attention", code, what, hint), since: at });
  }
  for (const { at, message, hint } of warnings)
    findings.push({ ...finding("attention", null, message, hint), since: at });
  return findings;
}

function backupFindings({ logBackup }: PeerStatus): NodeFinding[] {
  if (logBackup === null) return [];
  const { lastFailure, exposed, warnings } = logBackup;
  const findings: NodeFinding[] = [];
  if (lastFailure !== null) {
    const { code, message, hint } = lastFailure;
    const failed = finding("attention", code, `The log is not backed up. ${message}`, hint);
    findings.push({ ...failed, since: exposed.since });
  }
  for (const { code, message, hint } of warnings) findings.push(finding("attention", code, message, hint));
  return findings;
}

function joinFindings({ join: { movedAside, orphans } }: PeerStatus): NodeFinding[] {
  const findings = movedAside.map(({ code, message }) =>
    finding("notice", code, `The node moved its index aside and built another one. ${message}`, null),
  );
  if (orphans > 0) {
    const message = `${formatNumberOf(orphans, "transaction")} lost by the log ${orphans === 1 ? "is" : "are"} only in quarantine.`;
    const hint =
      "Print them with cairn log orphans > FILE (if the log is embedded, stop the node for that, and start it again), review the file, and submit them again with cairn load FILE. They are counted until their folder is removed from quarantine/ and the node is restarted.";
    findings.push(finding("attention", null, message, hint));
  }
  return findings;
}

/** A restore or a rebuild stores another index next to the current one. */
function diskFindings({ resources, index: { bytes } }: PeerStatus): NodeFinding[] {
  const free = resources.diskFreeBytes;
  const needed = Math.max(LOW_DISK_BYTES, bytes ?? 0);
  if (free === null || free >= needed) return [];
  const message = `Only ${formatBytes(free)} are free on the disk of db-dir, less than the ${formatBytes(needed)} that building the index anew may take.`;
  return [finding("attention", "DISK_FULL", message, "Free some space on that disk.")];
}

function sameIdFindings(peers: readonly Peer[]): ClusterFinding[] {
  return sameIds(peers).map(({ node, peers: same }) => {
    const where = same.map(
      ({ host, pid, startedAt }) => `on ${host} (process ${pid}, since ${formatTime(startedAt)})`,
    );
    const message = `${node} is the id of ${same.length} nodes, ${where.join(" and ")}.`;
    return {
      ...finding("attention", null, message, "Give each node a different id (CAIRN_NODE_ID)."),
      node: null,
    };
  });
}

/** How many digits of a digest are shown, which is enough to distinguish a few digests. */
const SHOWN_DIGITS = 12;

function pastFindings(past: PastComparison | undefined, peers: readonly Peer[]): ClusterFinding[] {
  const { txId, pasts, differ } = past ?? {};
  if (txId === undefined || pasts === undefined || differ === undefined) return [];
  const shown = peers.flatMap(({ node, instance }) => {
    const one = pasts.get(instance);
    return one === undefined ? [] : [`${node} has ${differ} ${digits(one, differ)}`];
  });
  const what =
    differ === "history"
      ? "have different transactions"
      : "computed different results from the same transactions";
  const code = differ === "history" ? "LOG_DIFFERENT" : "INDEX_CORRUPT";
  const message = `The nodes ${what} at transaction ${formatCount(txId)}: ${shown.join(", ")}.`;
  return [{ ...failing(code, message, DIFFERENT_PAST_HINT), node: null }];
}

function digits(past: Past, differ: "history" | "effects"): string {
  return past[differ].slice(0, SHOWN_DIGITS);
}

/**
 * Returns a finding if the cluster's newest checkpoint is overdue. Transactions have been waiting for a checkpoint at
 * most since the newest one was taken, since a look last found nothing to save, and since the first node was started.
 */
function overdueFindings(peers: readonly Peer[], now: number): ClusterFinding[] {
  const saving = peers.filter(
    ({ status: { phase, checkpoints } }) => phase === "ready" && checkpoints.approxFrequencyMs !== null,
  );
  const known = peers.flatMap(({ status: { checkpoints } }) => checkpoints.last ?? []);
  const [newest] = known.toSorted((a, b) => b.txId - a.txId || (a.takenAt < b.takenAt ? 1 : -1));
  const txId = Math.max(0, ...peers.map(({ status }) => status.index.txId ?? 0));
  if (newest === undefined || saving.length === 0 || txId <= newest.txId) return [];
  const { ageMs } = newest;
  const looks = saving.flatMap(({ status: { checkpoints } }) => checkpoints.skipped ?? []);
  const sinceMs = Math.max(
    now - ageMs,
    Math.min(...saving.map(({ startedAt }) => Date.parse(startedAt))),
    ...looks.filter(({ reason }) => NOTHING_TO_SAVE.has(reason)).map(({ at }) => Date.parse(at)),
  );
  const periodMs = Math.max(0, ...saving.map(({ status }) => status.checkpoints.approxFrequencyMs ?? 0));
  const boundMs = periodMs * OVERDUE_PERIODS + OVERDUE_GRACE_MS;
  if (now - sinceMs <= boundMs) return [];
  const lacks = formatNumberOf(txId - newest.txId, "transaction");
  const message =
    `The newest checkpoint is ${formatDuration(ageMs)} old and lacks ${lacks}. ` +
    `The cluster should save one about every ${formatDuration(periodMs)}, and within ${formatDuration(boundMs)} even if a round fails.`;
  const hint = "Run cairn checkpoint create, which saves one or reports what prevents it.";
  const since = new Date(sinceMs + boundMs).toISOString();
  return [{ ...finding("attention", null, message, hint), since, node: null }];
}

/** The reasons of rounds that saved nothing because no transactions were waiting for a checkpoint. */
const NOTHING_TO_SAVE = new Set(["empty", "unchanged", "short-tail"]);

function isAfter(time: string | null | undefined, other: string): boolean {
  return time !== null && time !== undefined && time > other;
}

function finding(severity: Severity, code: string | null, message: string, hint: string | null): NodeFinding {
  return { severity, code, message, hint, since: null };
}

function failing(code: string | null, message: string, hint: string | null): NodeFinding {
  return finding("failing", code, message, hint);
}
