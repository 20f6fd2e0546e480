import type { TxId } from "@cairn/client";
import { askEach, askStatus, type Peer, type PeerChannel } from "@cairn/engine";

export type AnsweredIndex = Awaited<ReturnType<typeof askEach>> extends Map<string, infer A> ? A : never;

export interface Comparison {
  readonly txId: TxId;
  /** The responses, by instance. */
  readonly answers: ReadonlyMap<string, AnsweredIndex>;
  /** The different digests of the nodes that returned one. */
  readonly digests: ReadonlySet<string>;
  /** What nodes that differ found when they compared themselves with a rebuild, by instance. */
  readonly checks: ReadonlyMap<string, AnsweredIndex>;
}

interface CompareOptions {
  readonly timeoutMs: number;
  readonly onCheck: (peer: Peer, done: number, total: number) => void;
}

/** Nodes report every second that they are working on a response, but the report of a busy node may be late. */
const MIN_SILENCE_MS = 10_000;
/** The time that nodes have to reach the transaction at which they are compared. */
const CATCH_UP_MS = 30_000;
/** If documents are evicted while nodes are queried, another attempt uses a later transaction. */
const MAX_TRIES = 5;

/**
 * Compares the indexes of these nodes at a transaction that all have. If they differ, no majority decides: each is asked
 * to compare itself with a rebuild from the log, and leaves its index if the two differ.
 */
export async function compareNodes(
  channel: PeerChannel,
  log: string,
  peers: readonly Peer[],
  options: CompareOptions,
): Promise<Comparison> {
  const { txId, answers } = await digestsAt(channel, log, peers, options);
  const digests = new Set([...answers.values()].flatMap(({ digest }) => digest?.digest ?? []));
  const checks = new Map<string, AnsweredIndex>();
  for (const peer of digests.size > 1 ? peers : []) {
    if (answers.get(peer.instance)?.digest === undefined) continue;
    const onWork = (_instance: string, done: number, total: number): void =>
      options.onCheck(peer, done, total);
    const ask = { timeoutMs: Math.max(options.timeoutMs, MIN_SILENCE_MS), onWork };
    const question = { ask: "check", log, txId, instance: peer.instance } as const;
    for (const [instance, answer] of await askEach(channel, [peer], question, ask))
      checks.set(instance, answer);
  }
  return { txId, answers, digests, checks };
}

async function digestsAt(
  channel: PeerChannel,
  log: string,
  peers: readonly Peer[],
  { timeoutMs }: CompareOptions,
): Promise<Pick<Comparison, "txId" | "answers">> {
  let txId = commonTransaction(peers);
  for (let tries = 1; ; tries += 1) {
    const question = { ask: "digest", log, txId, waitMs: CATCH_UP_MS } as const;
    const silence = { timeoutMs: Math.max(timeoutMs, MIN_SILENCE_MS) };
    const answers = await askEach(channel, peers, question, silence);
    // A later transaction is asked for if a node's history no longer covers this one.
    const isOutdated = [...answers.values()].some(({ error }) => error?.code === "CONFLICT");
    if (!isOutdated || tries === MAX_TRIES) return { txId, answers };
    const now = await askStatus(channel, { timeoutMs });
    txId = Math.max(txId, commonTransaction(now.filter(({ status }) => status.log.id === log)));
  }
}

/** The newest transaction that any of them has; the others wait until they have it. */
function commonTransaction(peers: readonly Peer[]): TxId {
  // A halted node may have transactions that the log has lost.
  const following = peers.filter(({ status }) => status.phase === "ready" || status.phase === "replaying");
  return Math.max(0, ...following.map(({ status }) => status.index.txId ?? 0));
}
