import { hostname } from "node:os";
import { CairnError } from "@cairn/kv";
import type { QueueEntry, QueueStatus, TxOutcome } from "@cairn/client";
import { type DrainAccess, drainShard, durationMs, nextCursor, queuePath } from "@cairn/client/protocol";
import { formatCount } from "../../text/quantities.ts";
import {
  type AddCommand,
  describeNodeCommand,
  type NodeOptions,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { interruptible, InterruptedError } from "../terminal/interrupt.ts";
import { showProgress } from "../terminal/progress-display.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";

interface DrainOptions extends NodeOptions {
  readonly as: string;
}

export const addQueueDrain: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("drain <queue> <shard>"),
    "Move the open entries of a shard to other shards, and retire it",
    ["cairn queue drain deliveries 7"],
  )
    .option("--as <name>", "who drains the shard, for people to read", `cairn queue drain on ${hostname()}`)
    .action(async (queue: string, text: string, { as, ...options }: DrainOptions) => {
      const shard = wholeNumber("<shard>", 0)(text);
      const { signal, forget } = interruptible(terminal, "the shard takes entries again");
      try {
        await withNode(terminal, options, async (node) => {
          const access = accessOf(node);
          const { policy, shards } = await access.queue(queue, signal);
          const { open } = shards.find((one) => one.shard === shard) ?? {};
          const leaseMs = durationMs(policy.lease);
          const display = showProgress(terminal.stderr, "moving", open, Date.now, formatCount);
          let movedSoFar = 0;
          const onProgress = (done: number): void => {
            movedSoFar = done;
            display.update(done, `shard ${shard} of ${queue}`);
          };
          const transact: DrainAccess["transact"] = async (transaction, ending) => {
            try {
              return await access.transact(transaction, ending);
            } catch (error) {
              // The drain sends the transaction again, or ends with this error.
              display.update(movedSoFar, (error as Error).message.replace(/\.$/, ""));
              throw error;
            }
          };
          const drained = { queue, shard, as, leaseMs, signal, onProgress };
          const result = await drainShard({ ...access, transact }, drained).finally(() => display.stop());
          // A signal that comes while the shard is being retired is too late to interrupt anything.
          if (!result.retired) {
            if (signal.aborted && signal.reason instanceof InterruptedError)
              throw interrupted(signal.reason, result.moved);
            throw notDrained(queue, shard, result);
          }
          if (options.json === true) return writeJson(terminal.stdout, { shard, ...result });
          return writeLine(
            terminal.stdout,
            `retired shard ${shard}: moved ${formatEntries(result.moved)}; the next transactions remove its rows`,
          );
        });
      } finally {
        forget();
      }
    });
};

function formatEntries(count: number): string {
  return `${formatCount(count)} ${count === 1 ? "entry" : "entries"}`;
}

function interrupted(error: InterruptedError, moved: number): InterruptedError {
  return error.withOutcome(
    `the shard takes entries again, and ${formatCount(moved)} of its open entries ${moved === 1 ? "was" : "were"} moved`,
    "Run the command again to move the others.",
  );
}

function notDrained(
  queue: string,
  shard: number,
  { moved, because }: { readonly moved: number; readonly because: string },
): CairnError {
  const sofar = moved === 0 ? "" : ` Entries moved before that: ${formatCount(moved)}.`;
  return new CairnError("CONFLICT", `Shard ${shard} of ${queue} was not retired: ${because}${sofar}`, {
    hint: because.endsWith(" has room.")
      ? `Raise "shards" or "cap" of ${queue} in the policies (cairn policy show prints them), set them with cairn policy apply, and run the command again.`
      : `Look at the shards, and who holds them until when, with cairn queue show ${queue}.`,
  });
}

function accessOf(node: NodeClient): DrainAccess {
  return {
    transact: async (transaction) =>
      (await node.json({
        method: "POST",
        path: "/api/v1/tx",
        query: { await: true },
        body: JSON.stringify(transaction),
      })) as TxOutcome,
    queue: async (name) => (await node.json({ path: queuePath(name) })) as QueueStatus,
    openEntries: async ({ queue, shard, limit, cursor }) => {
      const path = `${queuePath(queue)}/shards/${shard}/open`;
      const answer = await node.send({ path, query: { limit, cursor } });
      const txId = Number(answer.headers.get("cairn-tx"));
      return { txId, entries: answer.body as QueueEntry[], next: nextCursor(answer) };
    },
  };
}
