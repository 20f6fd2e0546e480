import { timeoutSignal } from "@cairn/client/protocol";
import { CairnError, isCairnError, wait } from "@cairn/kv";
import type { NodeStatus } from "@cairn/client";
import { requireConfig } from "../../config/read-config.ts";
import { command, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { readConfiguration } from "../options/configuration.ts";
import { countValue, durationValue, flag, type OptionValues } from "../options/option-specs.ts";
import { NoAnswerError, type NodeClient } from "../requests/node-client.ts";
import { UsageError } from "../terminal/report-error.ts";
import { type ComparedView, formatCluster } from "./cluster-screen.ts";
import { formatStatus } from "./status-screen.ts";
import { redraw } from "../terminal/redraw.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";
import { withLog } from "../places/log-place.ts";
import { requireNodes, requireWorking, viewCluster, writeCluster } from "./status-cluster.ts";

const POLL_INTERVAL_MS = 100;
/** The default timeout. It is longer than the two seconds for which a node waits for its log before it responds. */
const DEFAULT_TIMEOUT_MS = 3_000;
const EMBEDDED_LOG = "cairn.embedded/->tx-log";

const STATUS_OPTIONS = {
  ...NODE_OPTIONS,
  wait: durationValue("wait at most this long for the node to become ready and read its log", 1),
  watch: flag(
    "on a terminal: show the status of the node, or of the cluster, again every two seconds until Ctrl-C",
  ),
  cluster: flag("query all nodes that have the configured log open"),
  digest: flag("with --cluster: compare their indexes at one transaction"),
  rebuild: flag("with --digest: compare the nodes with a rebuild from the log even if they all agree"),
  expect: countValue("<nodes>", "with --cluster: exit with 1 if fewer nodes of the log respond than this", 1),
  timeout: durationValue("with --cluster: how long to wait for nodes (default: PT3S)", 1),
};

type StatusRun = CommandRun<OptionValues<typeof STATUS_OPTIONS>>;

export const addStatus = command({
  syntax: "status",
  description: "Show the status of a node, or of all nodes of a log",
  examples: [
    "cairn status",
    "cairn status --wait PT1M && echo ready",
    "cairn status --watch",
    "cairn status --json --url http://10.0.0.7:3000",
    "cairn status --cluster --digest -f cairn.edn",
  ],
  options: STATUS_OPTIONS,
  async act(run) {
    const { options } = run;
    if (options.watch) return await watchNode(run);
    if (options.cluster) return await showCluster(run);
    const needsCluster = given(options, ["digest", "rebuild", "timeout", "expect"]);
    if (needsCluster !== undefined) throw new UsageError(`--${needsCluster} requires --cluster.`);
    return await showNode(run);
  },
});

/** Returns the first of these options that is given. */
function given(
  options: StatusRun["options"],
  names: readonly (keyof StatusRun["options"])[],
): string | undefined {
  return names.find((name) => options[name] !== undefined && options[name] !== false);
}

const WATCH_INTERVAL_MS = 2_000;

async function watchNode(run: StatusRun): Promise<void> {
  const { options, terminal } = run;
  const excluded = given(options, ["json", "wait", "digest", "rebuild", "expect"]);
  if (excluded !== undefined) throw new UsageError(`--watch and --${excluded} cannot be combined.`);
  const { stdout } = terminal;
  if (stdout.isTTY !== true) {
    throw new UsageError(
      "--watch requires a terminal.",
      "In a pipe, run cairn status --json as often as you need the status.",
    );
  }
  if (options.cluster) return await watchCluster(run);
  if (options.timeout !== undefined) throw new UsageError("--timeout requires --cluster.");
  const node = await openNode(run);
  await redraw(terminal, WATCH_INTERVAL_MS, async (signal) => {
    try {
      return statusText((await node.json({ path: "/status", signal })) as NodeStatus, terminal);
    } catch (error) {
      // A node that does not respond now may do so again.
      if (error instanceof NoAnswerError) return printable(error.message);
      throw error;
    }
  });
}

/**
 * Calls `use` with a function that asks the nodes of the configured log. Returns undefined if the log connects no nodes:
 * an embedded log belongs to a single node, which has it locked.
 */
async function withCluster<T>(
  { options, terminal }: StatusRun,
  use: (ask: (signal?: AbortSignal) => Promise<ComparedView>) => Promise<T>,
): Promise<T | undefined> {
  const { digest, rebuild, timeout: timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const config = requireConfig(await readConfiguration(options, terminal));
  if (config.txLog.id === EMBEDDED_LOG) return undefined;
  return await withLog(options, terminal, async (log, system) => {
    const { peers } = log;
    if (peers === undefined) return undefined;
    return await use(
      async (signal) =>
        await viewCluster(log, peers, system, { timeoutMs, digest, rebuild, signal }, terminal),
    );
  });
}

async function watchCluster(run: StatusRun): Promise<void> {
  const { terminal } = run;
  const isWatched = await withCluster(run, async (ask) => {
    await redraw(terminal, WATCH_INTERVAL_MS, async (signal) => {
      try {
        return formatCluster(await ask(signal), Date.now(), terminal.stdout);
      } catch (error) {
        // Nodes that do not respond now may do so again, and so may the log.
        if (isCairnError(error)) return printable(`${error.code}: ${error.message}`);
        throw error;
      }
    });
    return true;
  });
  if (isWatched === undefined) throw onlyNode();
}

function onlyNode(): UsageError {
  return new UsageError(
    "--watch with --cluster requires a log that connects nodes.",
    "Run cairn status --watch, which shows the only node of this log.",
  );
}

function statusText(status: NodeStatus, { stdout, env }: Terminal): string {
  const colors = stdout.isTTY === true && env["NO_COLOR"] === undefined;
  return formatStatus(status, { now: Date.now(), colors });
}

async function showNode(run: StatusRun): Promise<void> {
  const status = await readStatus(await openNode(run), run.options.wait);
  await run.answer(status, statusText(status, run.terminal));
  requireWorking({ ...status.verdict, message: `${status.node}: ${status.verdict.message}` });
}

async function showCluster(run: StatusRun): Promise<void> {
  const { expect, rebuild, digest } = run.options;
  if (rebuild && !digest) throw new UsageError("--rebuild requires --digest.");
  const view = await withCluster(run, async (ask) => await ask());
  if (view === undefined) return await showOnlyNode(run);
  await writeCluster(view, run.terminal, { json: run.json, expect });
}

/** Shows only the node at --url, because an embedded log does not connect nodes. */
async function showOnlyNode(run: StatusRun): Promise<void> {
  run.terminal.stderr.write(
    "notice: An embedded log has a single node and connects no others, so only the node at --url is shown.\n",
  );
  await showNode(run);
  requireNodes(1, run.options.expect);
}

/**
 * Reads the status. If `waitMs` is given, first waits until the node is ready and can read its log; throws `NOT_READY`
 * if that takes longer. A node whose log is unreachable still serves its index, but the log may be a different one when
 * it responds again.
 */
async function readStatus(node: NodeClient, waitMs: number | undefined): Promise<NodeStatus> {
  if (waitMs === undefined) return (await node.json({ path: "/status" })) as NodeStatus;
  // The signal also ends a request: a node whose log is unreachable takes seconds to respond, and a frozen node never does.
  const signal = timeoutSignal(waitMs);
  let last: NodeStatus | undefined;
  for (;;) {
    try {
      last = (await node.json({ path: "/status", signal })) as NodeStatus;
      if (last.phase === "ready" && last.log.reachable !== false) return last;
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

function notReady({ node, verdict: { message, hint } }: NodeStatus): CairnError {
  const longer = "Wait longer: cairn status shows its progress.";
  return new CairnError("NOT_READY", `${node}: ${message}`, { hint: hint ?? longer });
}
