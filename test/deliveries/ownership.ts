import type { TxOutcome } from "@cairn/client";
import { readMessage } from "@cairn/node/testing";
import { connect } from "nats";

/** A message of the log that changes a queue, as it was stored. */
interface Stored {
  readonly txId: number;
  /** The time of the transaction (ms since 1970). */
  readonly time: number;
  readonly ops: readonly (readonly unknown[])[];
  readonly documents: readonly string[];
}

/** Who has a shard, by the rules of this file. */
interface Ownership {
  as: string;
  epoch: number;
  until: number;
}

/** What a log says about a queue. */
export interface Audit {
  /** Claims, drains and renewals that were committed. */
  readonly claims: number;
  readonly renewals: number;
  /** How often each entry was finished. */
  readonly finished: ReadonlyMap<string, number>;
  /** Everything that must not be, each as a sentence. */
  readonly violations: readonly string[];
}

/** Reads all messages of the only stream of a NATS server, whose first transaction has the id 1. */
async function* storedMessages(url: string): AsyncGenerator<Stored> {
  const connection = await connect({ servers: url });
  try {
    const manager = await connection.jetstreamManager();
    const [stream = ""] = await manager.streams.names().next();
    const { state } = await manager.streams.info(stream);
    const consumer = await connection.jetstream().consumers.get(stream);
    let time = 0;
    for await (const message of await consumer.consume()) {
      const { ops = [], documents = [] } = readMessage(message.data) ?? {};
      time = Math.max(time, Math.floor(message.info.timestampNanos / 1e6));
      yield { txId: message.seq, time, ops, documents };
      if (message.seq >= state.last_seq) return;
    }
  } finally {
    await connection.close();
  }
}

/**
 * Checks a log with rules that share no code with a node. Only which transactions were committed is taken from the
 * nodes: a claim must find its shard free or its lease over, and every write with an epoch must be its owner's.
 */
export async function audit(
  url: string,
  { queue, leaseMs }: { readonly queue: string; readonly leaseMs: number },
  outcomeOf: (txId: number) => Promise<TxOutcome>,
): Promise<Audit> {
  const owners = new Map<number, Ownership>();
  const finished = new Map<string, number>();
  const violations: string[] = [];
  let [claims, renewals] = [0, 0];
  const written: Stored[] = [];
  for await (const message of storedMessages(url)) {
    if (message.ops.some(([, bucket]) => bucket === queue)) written.push(message);
  }
  for (let at = 0; at < written.length; at += 64) {
    const some = written.slice(at, at + 64);
    const outcomes = await Promise.all(some.map(({ txId }) => outcomeOf(txId)));
    for (const [index, { txId, time, ops, documents }] of some.entries()) {
      const { committed, duplicateOf } = outcomes[index] ?? { committed: false };
      if (!committed || duplicateOf !== undefined) continue;
      const unread = [...documents];
      for (const [kind, , target, third] of ops as readonly (readonly [
        string,
        string,
        string & number,
        never,
      ])[]) {
        const owner = owners.get(target);
        if (kind === "claim" || kind === "drain") {
          claims += 1;
          const isTaken = kind === "claim" && owner !== undefined && owner.until > time;
          if (isTaken)
            violations.push(`${txId} claimed shard ${target} from ${owner.as}, whose lease had not ended`);
          owners.set(target, { as: (third as { as: string }).as, epoch: txId, until: time + leaseMs });
        } else if (kind === "renew" || kind === "release" || kind === "retire") {
          if (owner?.epoch !== third)
            violations.push(`${txId}: ${kind} of shard ${target} with epoch ${String(third)}`);
          if (kind === "renew" && owner !== undefined) owner.until = time + leaseMs;
          else owners.delete(target);
          renewals += 1;
        } else if (kind === "put") {
          const [shard = "", name = ""] = String(target).split("/");
          const { epoch } = third as { epoch: number };
          if (owners.get(Number(shard))?.epoch !== epoch)
            violations.push(`${txId} wrote ${target} with epoch ${epoch}`);
          const { state } = JSON.parse(unread.shift() ?? "null") as { state: string };
          if (state !== "new") finished.set(name, (finished.get(name) ?? 0) + 1);
        } else if (kind === "enqueue") unread.shift();
      }
    }
  }
  return { claims, renewals, finished, violations };
}
