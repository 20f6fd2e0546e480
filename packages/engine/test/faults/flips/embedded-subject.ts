import type { TxOutcome } from "@cairn/client";
import { isCairnError } from "@cairn/kv";
import type { CairnNode } from "../../../src/node/node.ts";
import { parseDocumentKey } from "@cairn/text";
import { type Health, PATIENCE_MS, Refused, type Subject } from "./flip-subject.ts";
import { type Answer, type Answers, changeText, evictionText, PAGE, type Question } from "./question.ts";

const WAIT = { timeoutMs: PATIENCE_MS };

/** Returns a node in this process as a subject, which is queried through its interface for programs. */
export function subjectOf(node: CairnNode): Subject {
  return {
    submit: (transaction) =>
      refusing(async () => {
        const { txId } = await node.submit(transaction, WAIT);
        return { txId, time: timeOf(await node.await(txId, WAIT)) };
      }),
    ask: (question) => refusing(() => ask(node, question)),
    checkpoint: () => refusing(async () => void (await node.checkpoint().done)),
    health: () => healthOf(node),
    stop: () => node.close(),
  };
}

async function healthOf(node: CairnNode): Promise<Health> {
  const { phase, failure, join } = await node.status();
  return { phase, failure, movedAside: join.movedAside.length, skipped: join.skipped.length };
}

async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isCairnError(error)) throw new Refused(error.code, error.message);
    throw error;
  }
}

function timeOf({ txTime }: TxOutcome): number {
  return Date.parse(txTime);
}

async function ask(node: CairnNode, question: Question): Promise<Answer> {
  switch (question.ask) {
    case "get": {
      const { asOf } = question;
      const key = parseDocumentKey(question.bucket, question.key);
      const found = await node.get(key, asOf === undefined ? {} : { asOf: { txId: asOf } });
      return found === undefined ? null : { revision: found.revision, document: JSON.parse(found.json) };
    }
    case "list":
      return await listed(node, question);
    case "history":
      return await versions(node, question);
    case "outcome":
      return await outcomeOf(node, question.txId);
    case "events": {
      const { events } = await node.events({ limit: 1_000 });
      return events.map(({ txId, time, object, reason }) => [txId, time, object, reason] as const);
    }
    case "evictions": {
      const { evictions } = await node.evictions({ limit: 1_000 });
      return evictions
        .map(({ txId, bucket, namespace, name }) => evictionText(txId, bucket, `${namespace}/${name}`))
        .toSorted();
    }
    case "changes":
      return await changes(node, question.upTo);
    case "buckets":
      return (await node.buckets()).buckets;
    case "digest":
      return (await node.digest()).digest;
  }
}

/** Returns the outcome once the node has the transaction: a node that rebuilds its index may not have reached it yet. */
async function outcomeOf(node: CairnNode, txId: number): Promise<Answers["outcome"]> {
  try {
    const outcome = await node.await(txId, WAIT);
    return { committed: outcome.committed, time: timeOf(outcome) };
  } catch (error) {
    if (isCairnError(error, "NOT_FOUND")) return null;
    throw error;
  }
}

async function listed(node: CairnNode, { bucket, asOf, where }: Extract<Question, { ask: "list" }>) {
  const found: [string, number, unknown][] = [];
  let cursor: string | undefined;
  do {
    const page = await node.list({
      bucket,
      limit: PAGE,
      ...(asOf === undefined ? {} : { asOf: { txId: asOf } }),
      ...(where === undefined ? {} : { where }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const { namespace, name, revision, json } of page.documents)
      found.push([`${namespace}/${name}`, revision, JSON.parse(json)]);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

async function versions(node: CairnNode, { bucket, key }: Extract<Question, { ask: "history" }>) {
  const found: Answers["history"][number][] = [];
  let cursor: string | undefined;
  do {
    const options = { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) };
    const page = await node.history(parseDocumentKey(bucket, key), options);
    for (const { revision, json } of page.versions)
      found.push(json === undefined ? [revision] : [revision, JSON.parse(json)]);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

async function changes(node: CairnNode, upTo: number): Promise<string[]> {
  const found: string[] = [];
  const signal = AbortSignal.timeout(PATIENCE_MS);
  for await (const event of node.watch({ from: "0", heartbeatMs: 100, signal })) {
    if (event.type === "cutoff") throw new Refused("NOT_READY", event.message);
    if (event.type === "tx") {
      const told = event.changes.map(({ op, bucket, namespace, name, json }) =>
        changeText(event.txId, op, bucket, `${namespace}/${name}`, json && JSON.parse(json)),
      );
      found.push(...told.toSorted());
    }
    if (event.txId >= upTo && !("ahead" in event)) return found;
  }
  throw new Refused("TX_TIMEOUT", `a watch did not receive transaction ${upTo}`);
}
