import { setTimeout as delay } from "node:timers/promises";
import type { LogMessage } from "@cairn/node";
import { readMessage } from "@cairn/engine/testing";
import { NatsOperator } from "@cairn/log-nats/testing";
import type { Cluster } from "../porcupine/cluster.ts";
import { MACHINES } from "../porcupine/network.ts";
import { bucketOf, type LoggedMessage, type Step, valueOf } from "./history.ts";

const READ_WITHIN_MS = 60_000;
const RETRY_MS = 100;

/**
 * Reads the log from the position after `from` to its end, which must include `upTo`, from any nats-server and without
 * using any part of a node. Servers that were killed may not respond yet.
 */
export async function readLog(cluster: Cluster, from: number, upTo: number): Promise<LogMessage[]> {
  const deadline = Date.now() + READ_WITHIN_MS;
  for (let machine = 0; ; machine = (machine + 1) % MACHINES) {
    const messages: LogMessage[] = [];
    try {
      await NatsOperator.at(cluster.natsUrl(machine), async (operator) => {
        for await (const message of operator.messages(from + 1)) messages.push(message);
      });
      const last = messages.at(-1)?.position ?? from;
      if (last >= upTo && last === from + messages.length) return messages;
      throw new Error(`the log has ${messages.length} messages from ${from + 1} to ${last}`);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(RETRY_MS);
    }
  }
}

/** Returns the messages that write in the bucket of a history. */
export function messagesOf(history: number, messages: readonly LogMessage[]): LoggedMessage[] {
  return messages.flatMap(({ position, payload }) => {
    const { ops = [], documents = [], id = "" } = readMessage(payload) ?? {};
    if (ops[0]?.[1] !== bucketOf(history)) return [];
    const unread = [...documents];
    const steps = ops.map(([op, , key, revision = null]): Step => {
      if (op === "match") return { op, key, revision };
      if (op === "put") return { op, key, value: valueOf(JSON.parse(unread.shift() ?? "null")) };
      if (op === "delete") return { op, key };
      throw new Error(`message ${position} has the operation ${op}`);
    });
    return [{ txId: position, id, steps }];
  });
}
