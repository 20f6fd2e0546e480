import type { StatusVerdict } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import {
  askCluster,
  clusterStatus,
  isMember,
  type Peer,
  type PeerChannel,
  readLogIdentity,
} from "@cairn/engine";
import { type ComparedView, formatCluster } from "./cluster-screen.ts";
import { compareNodes } from "./compare-nodes.ts";
import { formatCount, formatDuration, formatNumberOf } from "@cairn/text";
import { type ConfiguredLog, noLog } from "../places/configured-system.ts";
import type { CommandRun } from "../options/command.ts";

/** A log that connects the nodes that have it open. */
export interface OpenedCluster extends ConfiguredLog {
  readonly peers: PeerChannel;
}

type ClusterRun = CommandRun<{ readonly digest: boolean }>;

/** Queries the nodes that have this log open. Throws `NOT_READY` if none responds. */
export async function viewCluster(
  run: ClusterRun,
  { log, system, peers: channel }: OpenedCluster,
  timeoutMs: number,
): Promise<ComparedView> {
  const found = await askCluster(log, channel, { timeoutMs });
  if (found === undefined) {
    if ((await readLogIdentity(log)) === undefined) throw await noLog(log, system);
    const within = formatDuration(timeoutMs);
    throw new CairnError(
      "NOT_READY",
      `No node of the log "${log.name}" responded within ${within}.`,
      `Start the nodes as they were started: cairn start with their configurations, or as a service (systemctl start cairn). If the network to NATS is slow, allow more time (--timeout PT10S). If they are running, permit their NATS user to subscribe to the subject on which nodes respond: ${channel.address}.`,
    );
  }
  const view = { ...found, comparison: undefined };
  const { id } = view.log;
  const own = view.peers.filter(({ status }) => status.log.id === id);
  if (!run.options.digest || id === null || own.length === 0) return view;
  const checking = run.lateProgress("comparing with the log", formatCount);
  const comparison = await compareNodes(channel, id, own, {
    timeoutMs,
    onCheck: ({ node }, done, total) => checking.update(done, total, `transactions, by ${node}`),
  });
  return { ...view, comparison };
}

/**
 * Writes a view, then throws `INDEX_CORRUPT` if a node's index differs from the log or another index, `LOG_DIFFERENT`
 * if nodes have different transactions or are given different ones by the log's replicas, `NOT_READY` if something does
 * not work now, or `NOT_FOUND` if fewer than `expect` nodes of this log responded.
 */
export async function writeCluster(
  run: CommandRun,
  view: ComparedView,
  expect: number | undefined,
): Promise<void> {
  const now = Date.now();
  const status = clusterStatus(view, now);
  await run.report(clusterJson(view, status), formatCluster(view, now, run.terminal.stdout));
  const wrong = wrongPeers(view);
  if (wrong.length > 0) {
    throw new CairnError(
      "INDEX_CORRUPT",
      `The index does not match the log: ${wrong.map(({ node }) => node).join(", ")}.`,
      "Wait a few minutes: a node that detects this replaces its index with a rebuilt one, and reports that in its log and status.",
    );
  }
  const { digests, checks } = view.comparison ?? {};
  if (digests !== undefined && digests.size > 1) {
    const areRebuilt = [...(checks?.values() ?? [])].every(({ check }) => check?.agrees);
    if (areRebuilt) throw replicasDiffer(view.log.name ?? "STREAM");
    throw new CairnError(
      "INDEX_CORRUPT",
      "The nodes differ, and it is unknown which of them is wrong.",
      "Remove what keeps these nodes from a rebuild, as shown above, and run the command again.",
    );
  }
  const { findings, verdict } = status;
  const differ = findings.find(({ code, node }) => code === "histories-differ" && node === null);
  if (differ !== undefined) {
    const { message, hint } = differ;
    const code = view.past?.differ === "history" ? "LOG_DIFFERENT" : "INDEX_CORRUPT";
    throw new CairnError(code, message, hint ?? {});
  }
  // What fails has a hint of its own, which may also bring back the nodes that are missing.
  requireWorking(verdict);
  requireNodes(view.peers.filter(isMember(view)).length, expect);
}

function replicasDiffer(stream: string): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    "The nodes differ, and each agrees with its own rebuild, so the log gives them different messages: its replicas on the servers differ.",
    `Stop the writers, save the documents of each node with cairn export, and keep one replica: run nats stream edit ${stream} --replicas=1, wait until nats stream info ${stream} shows no other replica, and set the former number again. docs/nats.md describes this ("Replicas that differ"), and which servers prevent it.`,
  );
}

/** Throws `NOT_READY` if something does not work now. Joining and stopping are normal. */
export function requireWorking({ state, message, hint }: StatusVerdict): void {
  if (state === "failing") throw new CairnError("NOT_READY", message, hint ?? {});
}

/** Throws `NOT_FOUND` if fewer nodes responded than were expected. */
export function requireNodes(
  answered: number,
  expected = 0,
  hint = "Check the missing nodes: they are down, frozen, cut off from NATS, slower than --timeout, or follow another log.",
): void {
  if (answered >= expected) return;
  throw new CairnError(
    "NOT_FOUND",
    `${formatNumberOf(answered, "node")} responded, but ${formatCount(expected)} were expected.`,
    hint,
  );
}

function wrongPeers({ comparison, peers }: ComparedView): Peer[] {
  return peers.filter(({ instance }) => comparison?.checks.get(instance)?.check?.agrees === false);
}

function clusterJson(view: ComparedView, found: ReturnType<typeof clusterStatus>): object {
  const { comparison } = view;
  const status = { ...found, askedBy: null };
  if (comparison === undefined) return { ...status, comparison: null };
  const { txId, digests, answers, checks } = comparison;
  const nodes = status.nodes.map((node) => ({
    ...node,
    ...answers.get(node.instance),
    ...checks.get(node.instance),
  }));
  const wrong = wrongPeers(view).map(({ instance }) => instance);
  return { ...status, nodes, comparison: { txId, differ: digests.size > 1, wrong } };
}
