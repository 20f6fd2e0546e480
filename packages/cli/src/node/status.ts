import { timeoutSignal } from "@cairn/client/protocol";
import { CairnError, isCairnError, unlessFailed, wait } from "@cairn/kv";
import type { NodeStatus } from "@cairn/client";
import type { System } from "@cairn/engine";
import { command, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { readConfiguration } from "../options/configuration.ts";
import { countValue, durationValue, flag, type OptionValues } from "../options/option-specs.ts";
import { NoAnswerError, type NodeClient } from "../requests/node-client.ts";
import { formatStatus } from "./status-screen.ts";
import { openLog, openSystem } from "../places/configured-system.ts";
import {
  type OpenedCluster,
  requireNodes,
  requireWorking,
  viewCluster,
  writeCluster,
} from "./status-cluster.ts";
import { writeWithoutNodes } from "./without-nodes.ts";

const POLL_INTERVAL_MS = 100;
/** The default timeout. It is longer than the two seconds for which a node waits for its log before it responds. */
const DEFAULT_TIMEOUT_MS = 3_000;
const EMBEDDED_LOG = "cairn.embedded/->tx-log";

const ALONE =
  "Only the node at --url is shown: an embedded log has a single node, and a node that reads a backup does not hear of others. For the nodes of a log on NATS, name its configuration with -f, or set NATS_URL.";

const OF_CLUSTER = { implies: { cluster: true } } as const;

const STATUS_OPTIONS = {
  ...NODE_OPTIONS,
  wait: durationValue("wait at most this long for the node to become ready, without a failing finding", 1),
  cluster: flag("query all nodes that have the configured log open; the options below imply it"),
  digest: { ...flag("compare their indexes at one transaction"), ...OF_CLUSTER },
  expect: {
    ...countValue("<nodes>", "exit with 1 if fewer nodes of the log respond than this"),
    ...OF_CLUSTER,
  },
  timeout: { ...durationValue("how long to wait for nodes (default: PT3S)", 1), ...OF_CLUSTER },
};

type StatusRun = CommandRun<OptionValues<typeof STATUS_OPTIONS>>;

export const addStatus = command({
  syntax: "status",
  description: "Show the status of a node, or of all nodes of a log",
  examples: [
    "cairn status",
    "cairn status --wait PT1M && echo ready",
    "cairn status --json --url http://10.0.0.7:3000",
    "cairn status --cluster --digest -f cairn.edn",
  ],
  options: STATUS_OPTIONS,
  async act(run) {
    const { cluster: isCluster, expect, timeout: timeoutMs = DEFAULT_TIMEOUT_MS } = run.options;
    const system = isCluster ? await openSystem(run) : undefined;
    const silentOr = async <T>(asking: Promise<T>): Promise<T> =>
      system === undefined ? await asking : await unlessSilent(run, system, asking);
    const cluster = system && (await silentOr(openCluster(run, system)));
    if (cluster !== undefined)
      return await writeCluster(run, await silentOr(viewCluster(run, cluster, timeoutMs)), expect);
    if (isCluster) run.notice(ALONE);
    const reading = readStatus(await openNode(run), run.options.wait);
    // What can be known without nodes is of the configuration, not of a node at another address.
    const { status, now } = await (run.options.url === undefined ? silentOr(reading) : reading);
    const { stdout, env } = run.terminal;
    const colors = stdout.isTTY === true && env["NO_COLOR"] === undefined;
    await run.answer(status, formatStatus(status, { now, colors }));
    requireWorking({ ...status.verdict, message: `${status.node}: ${status.verdict.message}` });
    requireNodes(1, expect, ALONE);
  },
});

/** Undefined if the log connects no nodes: an embedded log belongs to a single node, which has it locked. */
async function openCluster(run: StatusRun, system: System): Promise<OpenedCluster | undefined> {
  const { txLog } = await readConfiguration(run);
  if (txLog.id === EMBEDDED_LOG) return undefined;
  const { log } = await openLog(run, system);
  return log.peers && { log, system, peers: log.peers };
}

/** The codes of errors with which no node responds. */
const SILENCE = ["NOT_READY", "LOG_UNREACHABLE", "NOT_FOUND"] as const;

/** If no node responds, writes what can be known without nodes, and throws what to do first. */
async function unlessSilent<T>(run: StatusRun, system: System, asking: Promise<T>): Promise<T> {
  try {
    return await asking;
  } catch (error) {
    if (!isCairnError(error, ...SILENCE)) throw error;
    const signal = timeoutSignal(DEFAULT_TIMEOUT_MS);
    const own = openNode(run).then((node) => node.json<NodeStatus>({ path: "/status", signal }));
    return await writeWithoutNodes(run, system, error, unlessFailed(own, "any", undefined));
  }
}

/**
 * Reads the status. With `waitMs`, first waits until the node is ready and works: an unreachable log may be a different
 * one when it responds again, and a full one may soon have room. Throws `NOT_READY` if that takes longer.
 */
async function readStatus(node: NodeClient, waitMs: number | undefined): ReturnType<typeof statusNow> {
  if (waitMs === undefined) return await statusNow(node);
  // The signal also ends a request: a node whose log is unreachable takes seconds to respond, and a frozen node never does.
  const signal = timeoutSignal(waitMs);
  let last: NodeStatus | undefined;
  for (;;) {
    try {
      const answer = await statusNow(node, signal);
      last = answer.status;
      const { phase, log, verdict } = last;
      if (phase === "ready" && log.reachable !== false && verdict.state !== "failing") return answer;
      const isOver = last.phase === "failed" && last.failure?.retries !== true;
      if (isOver || signal.aborted) throw notReady(last);
    } catch (error) {
      // A node that does not respond yet may be about to start.
      if (!(error instanceof NoAnswerError)) throw error;
      if (signal.aborted) throw last === undefined ? error : notReady(last);
    }
    await wait(POLL_INTERVAL_MS);
  }
}

/** Returns a status, and the time (ms) by the node's clock, to which the times in it belong. */
async function statusNow(
  node: NodeClient,
  signal?: AbortSignal,
): Promise<{ readonly status: NodeStatus; readonly now: number }> {
  const { headers, body } = await node.send({ path: "/status", signal });
  const own = Date.now();
  // The header is the beginning of a second. If the clocks agree, this machine's time is in it, and more precise.
  const second = Date.parse(headers.get("date") ?? "");
  const now = Number.isNaN(second) ? own : Math.min(Math.max(own, second), second + 999);
  return { status: body as NodeStatus, now };
}

function notReady({ node, verdict: { message, hint } }: NodeStatus): CairnError {
  const longer = "Wait longer: cairn status shows its progress.";
  return new CairnError("NOT_READY", `${node}: ${message}`, hint ?? longer);
}
