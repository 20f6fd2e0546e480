import { setTimeout as delay } from "node:timers/promises";
import { CairnError } from "@cairn/kv";
import { Duration } from "luxon";
import type { NodeStatus } from "../../node-api.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions, withNode } from "../command-options.ts";
import { NoAnswerError, type NodeClient } from "../node-client.ts";
import { formatStatus } from "../status-screen.ts";
import { writeJson, writeLine } from "../terminal.ts";

interface StatusOptions extends NodeOptions {
  readonly wait?: string;
}

const BETWEEN_LOOKS_MS = 100;

/** `cairn status`. */
export const addStatus: AddCommand = (parent, terminal) => {
  describeNodeCommand(parent.command("status"), "Show what a node is doing", [
    "cairn status",
    "cairn status --wait PT1M && echo ready",
    "cairn status --json --url http://10.0.0.7:3000",
  ])
    .option("--wait <duration>", "first wait, at most so long, until the node is there and ready")
    .action(async (options: StatusOptions) => {
      const waitMs = options.wait === undefined ? 0 : durationMs(options.wait);
      const status = await withNode(terminal, options, (node) => readStatus(node, waitMs));
      if (options.json === true) return writeJson(terminal.stdout, status);
      const screen = formatStatus(status, {
        now: Date.now(),
        colors: terminal.stdout.isTTY === true && terminal.env["NO_COLOR"] === undefined,
      });
      return writeLine(terminal.stdout, screen);
    });
};

/** The status; with `waitMs`, the first one that says ready. `NOT_READY` when it does not in that time. */
async function readStatus(node: NodeClient, waitMs: number): Promise<NodeStatus> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    const late = Date.now() >= deadline;
    try {
      const status = (await node.json({ path: "/status" })) as NodeStatus;
      if (waitMs === 0 || status.phase === "ready") return status;
      if (late || status.phase === "failed") throw notReady(status);
    } catch (error) {
      // While one waits, a node that is not there yet is one that is about to start.
      if (late || !(error instanceof NoAnswerError)) throw error;
    }
    await delay(BETWEEN_LOOKS_MS);
  }
}

function notReady({ node, phase, failure }: NodeStatus): CairnError {
  return new CairnError("NOT_READY", `${node} is ${phase}${failure === null ? "" : `: ${failure.message}`}`, {
    hint: failure?.hint ?? "cairn status shows how far it is.",
  });
}

function durationMs(text: string): number {
  const ms = Duration.fromISO(text).toMillis();
  if (Number.isFinite(ms) && ms > 0) return ms;
  throw new CairnError("CONFIG_INVALID", `--wait takes a duration, not ${JSON.stringify(text)}.`, {
    hint: "Write it like PT30S or PT5M.",
  });
}
