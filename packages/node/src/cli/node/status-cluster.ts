import { rm } from "node:fs/promises";
import { CairnError, isCairnError } from "@cairn/kv";
import { askStatus, type Peer } from "../../cluster/ask-cluster.ts";
import { compareNodes, type Comparison, type Rebuilt } from "../../cluster/compare-nodes.ts";
import { comparePasts, type PastComparison } from "../../cluster/compare-pasts.ts";
import { sameIds } from "../../cluster/judge-digests.ts";
import { rebuildIndex } from "../../replay/rebuild-index.ts";
import { readLogIdentity } from "../../log/log-identity.ts";
import type { System } from "../../system/system.ts";
import type { PeerChannel } from "../../log/peer-channel.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { type ClusterView, formatCluster, ofThisCluster, ofThisLog } from "./cluster-screen.ts";
import { formatCount, formatDuration, formatNumberOf } from "../terminal/quantities.ts";
import { stagingFolder } from "../places/staging-folder.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";
import { noLog } from "../places/log-place.ts";
import { interruptible } from "../terminal/interrupt.ts";

/** What to ask a cluster. */
export interface ClusterQuery {
  readonly timeoutMs: number;
  readonly digest: boolean;
  /** Compares with a rebuild even if all agree. */
  readonly rebuild: boolean;
}

/** Nodes say every second that they work on an answer; a busy one may be late. */
const LEAST_SILENCE_MS = 10_000;
/** How long nodes may take to reach the transaction that they are compared at. */
const CATCH_UP_MS = 30_000;
const TOLD_EVERY_MS = 5_000;

/** Asks the nodes that have this log open. `NOT_READY` when none answers. */
export async function viewCluster(
  log: TxLog,
  channel: PeerChannel,
  system: System,
  query: ClusterQuery,
  terminal: Terminal,
): Promise<ClusterView> {
  const identity = await readLogIdentity(log);
  const { timeoutMs } = query;
  const peers = await askStatus(channel, { timeoutMs });
  if (identity === undefined) {
    if (peers.length === 0) throw await noLog(log.name, system);
    const nowhere = { name: log.name, id: null, lastTxId: null };
    return { log: nowhere, peers, past: undefined, comparison: undefined };
  }
  // Only a node knows the offset of a log that lost its birth record.
  const told = peers.find(({ status }) => status.log.id === identity.id)?.status.log.lastTxId;
  const lastTxId = told ?? identity.bounds.last + (identity.birth?.offset ?? 0);
  const about = { log: { name: log.name, id: identity.id, lastTxId } };
  if (!peers.some(ofThisCluster(about))) throw nobody(log.name, channel, timeoutMs);
  const own = peers.filter(ofThisLog(about));
  const past = await comparePasts(channel, identity.id, own, { timeoutMs });
  const view = { ...about, peers, past, comparison: undefined };
  if (!query.digest || own.length === 0) return view;
  const tell = teller(terminal);
  const ended = new AbortController();
  const comparison = await compareNodes(channel, identity.id, own, {
    timeoutMs,
    silenceMs: Math.max(timeoutMs, LEAST_SILENCE_MS),
    waitMs: CATCH_UP_MS,
    always: query.rebuild,
    rebuild: async (txId) => await rebuild(log, system, txId, ended, terminal, tell),
    onCheck: ({ node }, done, total) => tell(`${node} compares itself with the log`, done, total),
  });
  // A rebuild that cannot be made is an answer; one that was ended is none.
  ended.signal.throwIfAborted();
  return { ...view, comparison };
}

/**
 * Writes a view. Below it `INDEX_CORRUPT` where nodes have an index that is not the log's, or it cannot be told which, and `NOT_FOUND`
 * where fewer than `expect` nodes of this log answered.
 */
export async function writeCluster(
  view: ClusterView,
  terminal: Terminal,
  { json, expect = 0 }: { readonly json: boolean; readonly expect?: number | undefined },
): Promise<void> {
  if (json) await writeJson(terminal.stdout, clusterJson(view));
  else await writeLine(terminal.stdout, formatCluster(view, Date.now()));
  const { comparison } = view;
  const wrong = comparison === undefined ? [] : wrongPeers(comparison, view.peers);
  const names = wrong.map(({ node }) => node).join(", ");
  if (wrong.length > 0) {
    throw new CairnError("INDEX_CORRUPT", `Not the index that the log gives: ${names}.`, {
      hint: "A node that finds the same itself leaves that index and goes on from a rebuilt one; its log and status say so.",
    });
  }
  if (comparison?.verdict.kind === "differs" && isCairnError(comparison.rebuilt)) {
    throw new CairnError("INDEX_CORRUPT", "The nodes differ, and which of them is wrong cannot be told.", {
      hint: `There is nothing to compare them with: ${comparison.rebuilt.message}`,
    });
  }
  const apart = comparison?.others.find(({ verdict }) => verdict.kind === "differs");
  if (apart !== undefined) {
    const { version = "unknown" } = apart;
    throw new CairnError(
      "INDEX_CORRUPT",
      `The nodes whose index has version ${version} differ, and which of them is wrong cannot be told.`,
      {
        hint: "This command builds indexes of another version: run that of the version of Cairn that they have.",
      },
    );
  }
  const problem = view.past === undefined ? undefined : pastProblem(view.past);
  if (problem !== undefined) throw problem;
  const own = view.peers.filter(ofThisCluster(view));
  requireNodes(own.length, expect);
  requireWell(own);
}

/** `NOT_READY` where a node has stopped itself; its failure is in the notes. */
function requireWell(peers: readonly Peer[]): void {
  const failed = peers.filter(({ status }) => status.phase === "failed").map(({ node }) => node);
  if (failed.length === 0) return;
  throw new CairnError(
    "NOT_READY",
    `${failed.length === 1 ? "A node has" : `${failed.length} nodes have`} failed: ${failed.join(", ")}.`,
    {
      hint: "What each of them needs stands above, behind its name.",
    },
  );
}

/** `NOT_FOUND` where fewer nodes answered than were expected. */
export function requireNodes(answered: number, expected = 0): void {
  if (answered >= expected) return;
  throw new CairnError(
    "NOT_FOUND",
    `${formatNumberOf(answered, "node")} answered, and ${formatCount(expected)} were expected.`,
    {
      hint: "Those that are missing are down, frozen, cut off from NATS or slower than --timeout, or follow another log.",
    },
  );
}

function wrongPeers({ answers, compared, rebuilt }: Comparison, peers: readonly Peer[]): Peer[] {
  if (rebuilt === undefined || isCairnError(rebuilt)) return [];
  return peers.filter(({ instance }) => {
    if (!compared.has(instance)) return false;
    const digest = answers.get(instance)?.digest?.digest;
    return digest !== undefined && digest !== rebuilt.digest;
  });
}

function clusterJson({ log, peers, past, comparison }: ClusterView): object {
  const nodes = peers.map((peer) => ({
    ...peer,
    sameLog: log.id === null || peer.status.log.id === null ? null : peer.status.log.id === log.id,
    past: past?.pasts.get(peer.instance) ?? null,
    ...comparison?.answers.get(peer.instance),
    ...comparison?.checks.get(peer.instance),
  }));
  const repeated = sameIds(peers).map(({ node }) => node);
  const compared = past === undefined ? null : { txId: past.txId, differ: past.differ ?? null };
  if (comparison === undefined) return { log, nodes, sameId: repeated, past: compared, comparison: null };
  const { txId, verdict, rebuilt, others } = comparison;
  const built = isCairnError(rebuilt)
    ? { error: { code: rebuilt.code, message: rebuilt.message, hint: rebuilt.hint ?? null } }
    : (rebuilt ?? null);
  const wrong = wrongPeers(comparison, peers).map(({ instance }) => instance);
  const otherVersions = others.map(({ version = null, verdict: itsVerdict, peers: same }) => ({
    version,
    verdict: itsVerdict,
    nodes: same.map(({ instance }) => instance),
  }));
  return {
    log,
    nodes,
    sameId: repeated,
    past: compared,
    comparison: { txId, verdict, rebuilt: built, wrong, otherVersions },
  };
}

async function rebuild(
  log: TxLog,
  system: System,
  txId: number,
  ended: AbortController,
  terminal: Terminal,
  tell: (what: string, done: number, total: number) => void,
): Promise<Rebuilt> {
  const dir = await stagingFolder(undefined, "cairn-rebuild-", terminal);
  const { signal, forget } = interruptible(terminal, "the nodes were not compared");
  signal.addEventListener("abort", () => ended.abort(signal.reason));
  try {
    const onProgress = (done: number, total: number): void => tell("Rebuilding out of the log", done, total);
    return await rebuildIndex({ system, log, dir, txId, signal, onProgress });
  } finally {
    forget();
    await rm(dir, { recursive: true, force: true });
  }
}

function teller({ stderr }: Terminal): (what: string, done: number, total: number) => void {
  let last = Date.now();
  return (what, done, total) => {
    if (Date.now() - last < TOLD_EVERY_MS) return;
    last = Date.now();
    const amounts = total === 0 ? "" : `: ${formatCount(done)} of ${formatCount(total)} transactions`;
    stderr.write(`${what}${amounts}\n`);
  };
}

function nobody(name: string, { address }: PeerChannel, timeoutMs: number): CairnError {
  return new CairnError(
    "NOT_READY",
    `No node of the log "${name}" answered within ${formatDuration(timeoutMs)}.`,
    {
      hint: `Nodes that run answer on ${address}. See whether one runs, and whether its user of NATS may subscribe to that.`,
    },
  );
}

/** For people and for scripts, where the nodes do not have the same past. */
function pastProblem({ txId, differ }: PastComparison): CairnError | undefined {
  if (differ === undefined) return undefined;
  const code = differ === "history" ? "LOG_DIFFERENT" : "INDEX_CORRUPT";
  return new CairnError(code, `The nodes do not have the same past at transaction ${formatCount(txId)}.`, {
    hint:
      "Each of them compares its index with a rebuild out of the log, one after the other, and leaves one that is wrong. " +
      "Ask again in some minutes; cairn status --cluster --digest compares now.",
  });
}
