import type { X509Certificate } from "node:crypto";
import { isAbsolute } from "node:path";
import { DAMAGE_CODES, type OtherLook } from "@cairn/checkpoint";
import type { Finding, NodeStatus, Warning } from "@cairn/client";
import type { OnLogMismatch } from "../api/system.ts";
import { FIRST_TX_ID } from "../index/rows/index-state.ts";
import { numberSkipped } from "../observe/skipped-checkpoints.ts";
import { isoTime, madeOnce, formatBytes, formatDuration, formatNumberOf } from "@cairn/text";
import { finding, SAME_ID_HINT, verdictOf, worstFirst } from "./findings.ts";

type NodeFacts = Omit<NodeStatus, "findings" | "verdict">;

/**
 * The age in periods from which the newest checkpoint is overdue. If every upload succeeds, two are at most 1.1 periods
 * apart (packages/checkpoint/src/save/schedule.ts), and 2.2 after one failed round; more means several failed.
 */
const OVERDUE_PERIODS = 2 * 1.1;
/** How long a checkpoint may additionally be late, because nodes look at the store only now and then (ms). */
const OVERDUE_GRACE_MS = 60_000;
/** The reasons of rounds that saved nothing because no transactions were waiting for a checkpoint. */
const NOTHING_TO_SAVE = new Set(["empty", "unchanged"]);
/** The number of looks within which transactions that wait for the log's backup are expected to be in it. */
const BEHIND_PERIODS = 3;
/** Free space below which a disk is reported even if the index is small. */
const LOW_DISK_BYTES = 256 * 1024 * 1024;
/** A larger difference between two clocks is reported. Synchronized clocks differ by less. */
const CLOCK_MS = 60_000;
const MOVED_ASIDE_MS = 24 * 3_600_000;
const MAX_NAMED = 5;

interface Surroundings {
  readonly different?: OnLogMismatch["different"];
  /** By how much the clock of the checkpoint store was ahead of this machine's at the last look (ms). */
  readonly storeAhead?: number | null;
  /** The looks of the nodes whose store is another one, as of this node's last look. */
  readonly otherStores?: readonly OtherLook[];
  readonly sharesId?: boolean;
  /** The files of the HTTP server that have changed and cannot be used. */
  readonly files?: readonly (Warning & { readonly since: string })[];
  readonly certificate?: ServerCertificate | undefined;
  /** What the HTTP server has refused lately, because too many connections or watches are open. */
  readonly refusedConnections?: (Warning & { readonly since: string }) | undefined;
}

/** Completes a status with findings and verdict. `now` in ms. */
export function withFindings(facts: NodeFacts, now: number, around: Surroundings = {}): NodeStatus {
  const { node, phase } = facts;
  const { otherStores = [], files = [], refusedConnections } = around;
  const findings = worstFirst([
    ...lifeFindings(facts),
    ...logFindings(facts),
    ...indexFindings(facts, now),
    ...ownIndexFindings(facts),
    ...clockFindings(around.storeAhead ?? 0),
    ...(around.sharesId === true ? [finding("same-node-id", sameId(node))] : []),
    ...checkpointFindings(facts, now),
    ...storeFindings(facts.checkpoints.locations, otherStores),
    ...backupFindings(facts, now),
    ...joinFindings(facts, now),
    ...files.map((file) => finding("file-unusable", file)),
    ...(refusedConnections === undefined ? [] : [finding("connections-refused", refusedConnections)]),
    ...certificateFindings(around.certificate, now),
  ]);
  if (around.different === "rebuild") findings.push(finding("different-log-accepted", ACCEPTED));
  return { ...facts, findings, verdict: verdictOf(findings, phase === "ready", `${node} is ${phase}.`) };
}

const ACCEPTED = {
  message:
    '"on-log-mismatch": {"different": "rebuild"} is set: if the log is lost or replaced, this node moves its index aside.',
  hint: "Remove it from cairn/tx-log once it has served its purpose, and restart the node.",
};

const sameId = (node: string): Pick<Finding, "message" | "hint"> => ({
  message: `Another process uses this node's id, ${node}.`,
  hint: `${SAME_ID_HINT} To see where both run: cairn status --cluster.`,
});

export type ServerCertificate = Pick<X509Certificate, "validFrom" | "validTo">;

/** Returns why clients refuse the certificate of the HTTP server at a time (ms); undefined if they do not. */
export function certificateProblem({ validFrom, validTo }: ServerCertificate, now: number) {
  const [from, end] = [Date.parse(validFrom), Date.parse(validTo)];
  const isEarly = now < from;
  if (!isEarly && now < end) return undefined;
  const when = isEarly ? `is not valid before ${isoTime(from)}` : `ended at ${isoTime(end)}`;
  return {
    message: `The certificate of the HTTP server ${when}, so clients refuse to connect.`,
    hint: "Replace the certificate and its key, which are read again when they change: cairn config print names their files. If this machine's clock is wrong, correct it instead.",
    since: isEarly ? null : isoTime(end),
  };
}

function certificateFindings(certificate: ServerCertificate | undefined, now: number): Finding[] {
  const problem = certificate && certificateProblem(certificate, now);
  return problem === undefined ? [] : [finding("certificate-ended", problem)];
}

function lifeFindings({ phase, failure, stalled, log }: NodeFacts): Finding[] {
  const findings: Finding[] = [];
  if (failure !== null)
    findings.push(finding(phase === "failed" ? "node-failed" : "node-interrupted", failure));
  if (stalled !== null) {
    const message = `no progress for ${formatDuration(stalled.forMs)}. ${stalled.message}`;
    const { waitingFor } = stalled;
    const isOnDisk = log.location !== null && isAbsolute(log.location) && ABOUT_LOG.has(waitingFor);
    const hint = isOnDisk ? EMBEDDED_HINT : STALLED_HINTS[waitingFor];
    findings.push(finding("node-stalled", { message, hint, since: stalled.since }));
  }
  return findings;
}

const STALLED_HINTS: Readonly<Record<NonNullable<NodeStatus["stalled"]>["waitingFor"], string>> = {
  log: "Check the log's servers and the network: cairn log status reads the log without the node, which continues by itself.",
  messages:
    "Check the log's servers and the network. If cairn log status reads the log, but the node does not, restart the node.",
  store:
    "Check the checkpoint store and the network: cairn checkpoint list reads the store without the node, which continues by itself.",
  files:
    "Check the disks of db-dir and of checkpoint stores in folders, and mount again what does not respond. The node continues by itself.",
};

/** No command can read an embedded log, whose location is a folder, while its node runs. */
const EMBEDDED_HINT =
  "Check the disks of the log and of db-dir: the kernel's log names a device that hangs, and a frozen file system must be thawed (fsfreeze -u). The node then continues by itself; if it does not, restart it.";
const ABOUT_LOG: ReadonlySet<string> = new Set<keyof typeof STALLED_HINTS>(["log", "messages"]);

/** The findings for warnings of the log. All others mean that it may lose transactions. */
const LOG_WARNINGS: Readonly<Record<string, Parameters<typeof finding>[0]>> = {
  LOG_UNREACHABLE: "log-unreachable",
  TX_TOO_LARGE: "writes-refused",
};

function logFindings({ log, failure, join: { orphans, uncompared } }: NodeFacts): Finding[] {
  const findings = log.warnings
    .filter(({ message }) => message !== failure?.message)
    .map((one) => finding(LOG_WARNINGS[one.code] ?? "log-at-risk", one));
  if (log.refused !== null) {
    const message = `Transactions are refused: ${log.refused.message}`;
    findings.push(finding("writes-refused", { ...log.refused, message }));
  }
  if (orphans > 0) {
    const message = `${formatNumberOf(orphans, "transaction")} lost by the log ${orphans === 1 ? "is" : "are"} only in quarantine.`;
    const hint =
      "Print them on the node's machine: cairn log orphans > FILE (if the log is embedded, stop the node for that, and start it again). Review the file, and submit them again (cairn load FILE). They are counted until they are all in the log, or their folder is removed from quarantine/.";
    findings.push(finding("transactions-lost", { message, hint }));
  }
  if (uncompared.length > 0) {
    const these = uncompared.length === 1 ? "this index" : "these indexes";
    const message = `Nothing shows that the log holds all transactions of ${these} in quarantine, which ${uncompared.length === 1 ? "is of another log or" : "are of other logs or"} cannot be read: ${uncompared.join(", ")}.`;
    const hint =
      "If the log was neither restored from an older copy nor begun anew, nothing is missing: remove the folder, or give it back to the cluster to which it belongs. Otherwise, print what can be read of it on the node's machine: cairn log orphans > FILE (if the log is embedded, stop the node for that, and start it again). Of an index of another log, that command prints nothing at first, but says of which log it is, and how to print its transactions. The finding ends when the folder is removed, or all were loaded.";
    findings.push(finding("index-uncompared", { message, hint }));
  }
  return findings;
}

function indexFindings({ index, resources: { diskFreeBytes: free } }: NodeFacts, now: number): Finding[] {
  const { bytes, divergence, txTime, warning } = index;
  const findings: Finding[] = [];
  if (divergence !== null) {
    const doing = divergence.state === "comparing" ? " It is comparing its index with a rebuild." : "";
    findings.push(finding("histories-differ", { ...divergence, message: divergence.message + doing }));
  }
  if (warning !== undefined) findings.push(finding("index-files-missing", warning));
  if (txTime !== null && Date.parse(txTime) - now >= CLOCK_MS) {
    const message = `The time of the newest transaction, ${txTime}, is in the future.`;
    const hint =
      "Correct the clock of this machine or of the log's server, whichever is wrong. If it was that of the log: times of transactions never decrease, so all transactions get the time of the newest one until the clock has reached it, and expiry, reads as of a time and the leases of queues use that time. " +
      `A shard whose director has died remains held until then. If there is one (cairn queue show QUEUE), make sure that the program that holds it does not run, and release it: echo '{"ops": [["release", "QUEUE", SHARD, EPOCH]]}' | cairn tx submit -`;
    findings.push(finding("clock-wrong", { message, hint }));
  }
  // A restore or a rebuild stores another index next to the current one.
  const needed = Math.max(LOW_DISK_BYTES, bytes ?? 0);
  if (free !== null && free < needed) {
    const message = `Only ${formatBytes(free)} are free on the disk of db-dir, less than the ${formatBytes(needed)} that building the index anew may take.`;
    findings.push(
      finding("disk-nearly-full", { code: "DISK_FULL", message, hint: "Free some space on that disk." }),
    );
  }
  return findings;
}

/** They last while the index is built anew, until it is live. */
function ownIndexFindings({ ownIndexes }: NodeFacts): Finding[] {
  return ownIndexes.flatMap(({ failure }) => failure ?? []).map((one) => finding("own-index-failed", one));
}

/** It ends with the next look at the store, which compares the clocks again. */
function clockFindings(storeAhead: number): Finding[] {
  if (Math.abs(storeAhead) < CLOCK_MS) return [];
  const differs = `${formatDuration(Math.abs(storeAhead))} ${storeAhead < 0 ? "ahead of" : "behind"}`;
  const message = `The clock of this machine is ${differs} that of the checkpoint store.`;
  const hint = "Correct the clock that is wrong, then compare them again: cairn checkpoint create.";
  return [finding("clock-wrong", { message, hint })];
}

function checkpointFindings({ checkpoints, ...facts }: NodeFacts, now: number): Finding[] {
  const { last, lastFailure, lastSaved, lastCheckAt, lastDrill, lastVerified, warnings } = checkpoints;
  const findings: Finding[] = [];
  // A checkpoint that was saved, or a look that succeeded, shows that an earlier failure is over.
  if (
    lastFailure !== null &&
    !isAfter(lastSaved?.at, lastFailure.at) &&
    !isAfter(lastCheckAt, lastFailure.at)
  ) {
    const message = `No checkpoint was saved. ${lastFailure.message}`;
    findings.push(finding("checkpoint-failing", { ...lastFailure, message, since: lastFailure.at }));
  }
  if (lastDrill?.outcome === "failed" && !isAfter(lastVerified?.verifiedAt, lastDrill.at)) {
    const message = `A checkpoint could not be verified. ${lastDrill.message ?? ""}`.trimEnd();
    findings.push(finding("checkpoint-unverified", { ...lastDrill, message, since: lastDrill.at }));
  }
  findings.push(...overdueFindings({ checkpoints, ...facts }, now));
  const startedAt = isoTime(now - facts.resources.uptimeMs);
  // A newer checkpoint is the one that the next join uses.
  if (!isAfter(last?.takenAt, startedAt)) findings.push(...skippedFindings(facts.join, startedAt));
  for (const { at, message, hint } of warnings)
    findings.push(finding("checkpoint-warning", { message, hint, since: at }));
  return findings;
}

/** Returns one finding for each store and error code, because whatever damaged checkpoints may have damaged thousands. */
function skippedFindings({ skipped }: NodeFacts["join"], since: string): Finding[] {
  const damaged = skipped.filter(({ code }) => DAMAGE_CODES.has(code));
  const alike = new Map<string, NodeFacts["join"]["skipped"][number][]>();
  for (const one of damaged) madeOnce(alike, `${one.code} ${one.store}`, () => []).push(one);
  return [...alike.values()].flatMap((these) => {
    const [newest] = these;
    if (newest === undefined) return [];
    const { store, code, message } = newest;
    const names = these.map(({ name }) => name).join(", ");
    const others = numberSkipped(these) - these.length;
    const more = others > 0 ? `, and ${formatNumberOf(others, "other")}` : "";
    const which = these.length > 1 ? " Of the newest: " : " ";
    const what = `The node skipped ${names}${more} in ${store} when it started.${which}${message}`;
    const hint = "Save another checkpoint: cairn checkpoint create.";
    return [finding("checkpoint-skipped", { code, message: what, hint, since })];
  });
}

function storeFindings([own = ""]: readonly string[], others: readonly OtherLook[]): Finding[] {
  if (others.length === 0) return [];
  const shown = others
    .slice(0, MAX_NAMED)
    .map(({ node, location: its, newest }) => `${node} found ${newest.name} in ${its}`);
  const more =
    others.length > MAX_NAMED ? `, and ${formatNumberOf(others.length - MAX_NAMED, "more node")}` : "";
  const message = `This node's store, ${own}, lacks what other nodes find in theirs: ${shown.join(", ")}${more}.`;
  const hint =
    "Give all nodes the same store, and restart those that have another one. If they have the same one, find out why it does not list all of its files to every node. The finding ends with the next look: cairn checkpoint create.";
  return [finding("stores-differ", { message, hint })];
}

/** Transactions have waited at most since the newest checkpoint, a look that found nothing to save, or the start. */
function overdueFindings({ phase, checkpoints, index, resources }: NodeFacts, now: number): Finding[] {
  const { last, lastCheckAt, skipped, approxFrequencyMs: periodMs } = checkpoints;
  const missing = (index.txId ?? 0) - (last?.txId ?? FIRST_TX_ID);
  const hasLooked = last !== null || lastCheckAt !== null;
  if (phase !== "ready" || periodMs === null || !hasLooked || missing <= 0) return [];
  const sinceMs = Math.max(
    last === null ? 0 : now - last.ageMs,
    now - resources.uptimeMs,
    skipped !== null && NOTHING_TO_SAVE.has(skipped.reason) ? Date.parse(skipped.at) : 0,
  );
  const boundMs = periodMs * OVERDUE_PERIODS + OVERDUE_GRACE_MS;
  if (now - sinceMs <= boundMs) return [];
  const lacks = formatNumberOf(missing, "transaction");
  const what =
    last === null
      ? `There is no checkpoint of ${lacks}.`
      : `The newest checkpoint is ${formatDuration(last.ageMs)} old and lacks ${lacks}.`;
  const message = `${what} The cluster should save one about every ${formatDuration(periodMs)}, and within ${formatDuration(boundMs)} even if a round fails.`;
  const hint = "Run cairn checkpoint create, which saves one or reports what prevents it.";
  return [finding("checkpoint-overdue", { message, hint, since: isoTime(sinceMs + boundMs) })];
}

function backupFindings({ logBackup, resources }: NodeFacts, now: number): Finding[] {
  if (logBackup === null) return [];
  const { everyMs, lastFailure, exposed, warnings } = logBackup;
  const findings = warnings.map((one) => finding("log-backup-damaged", one));
  const { transactions, since } = exposed;
  if (lastFailure !== null) {
    const message = `The log is not backed up. ${lastFailure.message}`;
    findings.push(finding("log-backup-failing", { ...lastFailure, message }));
  } else if (
    (transactions ?? 0) > 0 &&
    since !== null &&
    Math.min(now - Date.parse(since), resources.uptimeMs) > BEHIND_PERIODS * everyMs
  ) {
    const message = `${formatNumberOf(transactions ?? 0, "transaction")} should be in the log's backup, which is written about every ${formatDuration(everyMs)}.`;
    const hint =
      "See the log lines of the nodes about the backup, and check the store: cairn log backup status.";
    findings.push(finding("log-backup-behind", { message, hint, since }));
  }
  return findings;
}

function joinFindings({ join }: NodeFacts, now: number): Finding[] {
  return join.movedAside
    .filter(({ at }) => now - Date.parse(at) <= MOVED_ASIDE_MS)
    .map(({ code, message, at }) => {
      const what = `The node moved its index aside and built another one. ${message}`;
      const hint =
        code === "INDEX_CORRUPT"
          ? "If this happens twice on one machine, check its disk."
          : "Do nothing: the files of the index are intact. If it has transactions that the log lost, another finding counts them.";
      return finding("index-moved-aside", { code, message: what, hint, since: at });
    });
}

function isAfter(time: string | null | undefined, other: string): boolean {
  return time !== null && time !== undefined && time > other;
}
