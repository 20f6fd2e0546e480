import type { Position, TxId, TxOutcome } from "@cairn/client";
import type { NodeApi } from "@cairn/engine";
import { type MarkedPlace, formatPosition } from "@cairn/text";

/** Returns a place in a history that a test makes up. */
export function madePlace(txId: TxId): MarkedPlace {
  return { txId, mark: txId.toString(16).padStart(12, "0") };
}

/** Returns a position in a history that a test makes up. */
export function madePosition(txId: TxId): Position {
  return formatPosition(madePlace(txId));
}

/** Returns the position after a transaction of a node. */
export async function positionAfter(node: Pick<NodeApi, "outcome">, txId: TxId): Promise<Position> {
  const found = await node.outcome(txId);
  if (found === undefined) throw new Error(`the node does not have transaction ${txId}`);
  return found.position;
}

/** Returns the position after a transaction of a node at this address, or before the first one. */
export async function positionAt(url: URL, txId: TxId): Promise<Position> {
  if (txId === 0) return "0";
  const answer = await fetch(new URL(`/api/v1/tx/${txId}`, url));
  if (!answer.ok) throw new Error(await answer.text());
  return ((await answer.json()) as TxOutcome).position;
}
