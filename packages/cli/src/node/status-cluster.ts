import type { StatusVerdict } from "@cairn/client";
import { CairnError, isCairnError } from "@cairn/kv";
import {
  askCluster,
  clusterStatus,
  isMember,
  type Peer,
  type PeerChannel,
  readLogIdentity,
  rebuildIndex,
  type System,
  type TxLog,
} from "@cairn/engine";
import { type ComparedView, formatCluster } from "./cluster-screen.ts";
import { compareNodes, type Comparison, type Rebuilt } from "./compare-nodes.ts";
import { formatCount, formatDuration, formatNumberOf } from "@cairn/text";
import { stagingFolder } from "../places/staging-folder.ts";
import { type ConfiguredLog, noLog } from "../places/configured-system.ts";
import type { CommandRun } from "../options/command.ts";
import { interruptible } from "../terminal/interrupt.ts";

/** A log that connects the nodes that have it open. */
export interface OpenedCluster extends ConfiguredLog {
  readonly peers: PeerChannel;
}

/** If `rebuild` is set, the nodes are compared with a rebuild even if they all agree. */
type ClusterRun = CommandRun<{ readonly digest: boolean; readonly rebuild: boolean }>;

/** Queries the nodes that have this log open. Throws `NOT_READY` if none responds. */
export async function viewCluster(
  run: ClusterRun,
  { log, system, peers: channel }: OpenedCluster,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<ComparedView> {
  const found = await askCluster(log, channel, { timeoutMs, signal });
  if (found === undefined) {
    if ((await readLogIdentity(log)) === undefined) throw await noLog(log, system);
    const within = formatDuration(timeoutMs);
    throw new CairnError(
      "NOT_READY",
      `No node of the log "${log.name}" responded within ${within}.`,
      `Start the nodes as they were started: cairn start with their configurations, or systemctl start cairn. If they are running, permit their NATS user to subscribe to the subject on which nodes respond: ${channel.address}.`,
    );
  }
  const view = { ...found, comparison: undefined };
  const { id } = view.log;
  const own = view.peers.filter(({ status }) => status.log.id === id);
  if (!run.options.digest || id === null || own.length === 0) return view;
  const ended = new AbortController();
  const checking = run.lateProgress("comparing with the log", formatCount);
  const comparison = await compareNodes(channel, id, own, {
    timeoutMs,
    always: run.options.rebuild,
    rebuild: async (txId) => await rebuild(run, txId, log, system, ended),
    onCheck: ({ node }, done, total) => checking.update(done, total, `transactions, by ${node}`),
  });
  // A failed rebuild is a result; an interrupted rebuild is not.
  ended.signal.throwIfAborted();
  return { ...view, comparison };
}

async function rebuild(
  run: CommandRun,
  txId: number,
  log: TxLog,
  system: System,
  ended: AbortController,
): Promise<Rebuilt> {
  const dir = await stagingFolder(run, "cairn-rebuild-");
  const { update, stop } = run.lateProgress("rebuilding", formatCount);
  const { signal, forget } = interruptible(run.terminal, "the nodes were not compared");
  signal.addEventListener("abort", () => ended.abort(signal.reason));
  const onProgress = (done: number, total: number): void => update(done, total, "transactions of the log");
  try {
    return await rebuildIndex({ system, log, dir, txId, signal, onProgress });
  } finally {
    stop();
    forget();
  }
}

/**
 * Writes a view, then throws `INDEX_CORRUPT` if a node's index differs from the log or another index, `LOG_DIFFERENT`
 * if nodes have different transactions, `NOT_FOUND` if fewer than `expect` nodes of this log responded, or `NOT_READY`
 * if something does not work now.
 */
export async function writeCluster(
  run: CommandRun,
  view: ComparedView,
  expect: number | undefined,
): Promise<void> {
  const now = Date.now();
  const status = clusterStatus(view, now);
  await run.report(clusterJson(view, status), formatCluster(view, now, run.terminal.stdout));
  const { comparison } = view;
  const wrong = comparison === undefined ? [] : wrongPeers(comparison, view.peers);
  const names = wrong.map(({ node }) => node).join(", ");
  if (wrong.length > 0) {
    throw new CairnError(
      "INDEX_CORRUPT",
      `The index does not match the log: ${names}.`,
      "Wait a few minutes: a node that detects this replaces its index with a rebuilt one, and reports that in its log and status.",
    );
  }
  if (comparison?.verdict.kind === "differs" && isCairnError(comparison.rebuilt)) {
    throw new CairnError(
      "INDEX_CORRUPT",
      "The nodes differ, and it is unknown which of them is wrong.",
      `Remove the cause that prevents a rebuild for the comparison, and run the command again: ${comparison.rebuilt.message}`,
    );
  }
  const apart = comparison?.others.find(({ verdict }) => verdict.kind === "differs");
  if (apart !== undefined) {
    throw new CairnError(
      "INDEX_CORRUPT",
      `The nodes with index version ${apart.version} differ, and it is unknown which of them is wrong.`,
      "Run the command of the version of Cairn that these nodes run, because this one builds indexes of another version.",
    );
  }
  const { findings, verdict } = status;
  const differ = findings.find(({ code, node }) => code === "histories-differ" && node === null);
  if (differ !== undefined) {
    const { message, hint } = differ;
    const code = view.past?.differ === "history" ? "LOG_DIFFERENT" : "INDEX_CORRUPT";
    throw new CairnError(code, message, hint ?? {});
  }
  requireNodes(view.peers.filter(isMember(view)).length, expect);
  requireWorking(verdict);
}

/** Throws `NOT_READY` if something does not work now. Joining and stopping are normal. */
export function requireWorking({ state, message, hint }: StatusVerdict): void {
  if (state === "failing") throw new CairnError("NOT_READY", message, hint ?? {});
}

/** Throws `NOT_FOUND` if fewer nodes responded than were expected. */
export function requireNodes(answered: number, expected = 0): void {
  if (answered >= expected) return;
  throw new CairnError(
    "NOT_FOUND",
    `${formatNumberOf(answered, "node")} responded, but ${formatCount(expected)} were expected.`,
    "Check the missing nodes: they are down, frozen, cut off from NATS, slower than --timeout, or follow another log.",
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

function clusterJson({ comparison, ...view }: ComparedView, found: ReturnType<typeof clusterStatus>): object {
  const status = { ...found, askedBy: null };
  if (comparison === undefined) return { ...status, comparison: null };
  const { txId, verdict, rebuilt, others, answers, checks } = comparison;
  const nodes = status.nodes.map((node) => ({
    ...node,
    ...answers.get(node.instance),
    ...checks.get(node.instance),
  }));
  const built = isCairnError(rebuilt)
    ? { error: { code: rebuilt.code, message: rebuilt.message, hint: rebuilt.hint ?? null } }
    : (rebuilt ?? null);
  const wrong = wrongPeers(comparison, view.peers).map(({ instance }) => instance);
  const otherVersions = others.map(({ version, verdict: itsVerdict, peers: same }) => ({
    version,
    verdict: itsVerdict,
    nodes: same.map(({ instance }) => instance),
  }));
  return { ...status, nodes, comparison: { txId, verdict, rebuilt: built, wrong, otherVersions } };
}
