import type { TxId } from "@cairn/client";
import type { PeerChannel } from "../log/peer-channel.ts";
import {
  type Answer,
  decodeAnswer,
  encodeMessage,
  type PeerChains,
  type PeerStatus,
  type Question,
} from "./peer-messages.ts";

/** A node that answered: who and where it is, and its status. */
export interface Peer extends Pick<Answer, "instance" | "node" | "host" | "pid" | "startedAt"> {
  readonly status: PeerStatus;
}

/** What a node answered to a question about its index, or why it did not. */
export type IndexAnswer = Pick<Answer, "digest" | "check" | "chains" | "error">;

/** How to ask. */
export interface AskOptions {
  /** How long to wait for nodes; for long work, how long one may say nothing. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Told how far the nodes are that work on an answer. */
  readonly onWork?: (instance: string, done: number, total: number) => void;
}

/** Who answers within the time, by id and then by when they started. Who does not is not there, or cannot be told from that. */
export async function askStatus(channel: PeerChannel, options: AskOptions): Promise<Peer[]> {
  const peers = new Map<string, Peer>();
  const deadline = AbortSignal.timeout(options.timeoutMs);
  for await (const answer of ask(channel, { cairn: 1, ask: "status" }, anyOf(deadline, options.signal))) {
    const { instance, node, host, pid, startedAt, status } = answer;
    if (status !== undefined) peers.set(instance, { instance, node, host, pid, startedAt, status });
  }
  const order = ({ node, startedAt, instance }: Peer): string => `${node}\0${startedAt}\0${instance}`;
  return [...peers.values()].toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** The digests of these nodes at one transaction, by instance. Each waits until it has the transaction. */
export async function askDigests(
  channel: PeerChannel,
  peers: readonly Peer[],
  question: { readonly log: string; readonly txId: TxId; readonly waitMs: number },
  options: AskOptions,
): Promise<Map<string, IndexAnswer>> {
  const instances = peers.map(({ instance }) => instance);
  return await askIndex(channel, { cairn: 1, ask: "digest", ...question }, instances, options);
}

/** The chains of these nodes at one transaction, or at the link before it, by instance. */
export async function askChains(
  channel: PeerChannel,
  peers: readonly Peer[],
  question: { readonly log: string; readonly txId: TxId },
  options: AskOptions,
): Promise<Map<string, IndexAnswer>> {
  const instances = peers.map(({ instance }) => instance);
  return await askIndex(channel, { cairn: 1, ask: "chains", ...question }, instances, options);
}

/** Tells all other nodes one's own chains, and answers those of the nodes whose differ, as they come within the time. */
export async function* askCompare(
  channel: PeerChannel,
  own: {
    readonly log: string;
    readonly node: string;
    readonly instance: string;
    readonly chains: PeerChains;
  },
  { timeoutMs, signal }: AskOptions,
): AsyncGenerator<Pick<Answer, "node" | "instance"> & { readonly chains: PeerChains }> {
  const deadline = AbortSignal.timeout(timeoutMs);
  for await (const answer of ask(channel, { cairn: 1, ask: "compare", ...own }, anyOf(deadline, signal))) {
    const { node, instance, chains } = answer;
    if (chains !== undefined) yield { node, instance, chains };
  }
}

/** What a node finds when it compares its index with a rebuild of its own. */
export async function askCheck(
  channel: PeerChannel,
  { instance }: Peer,
  question: { readonly log: string; readonly txId: TxId },
  options: AskOptions,
): Promise<IndexAnswer> {
  const answers = await askIndex(
    channel,
    { cairn: 1, ask: "check", ...question, instance },
    [instance],
    options,
  );
  return answers.get(instance) ?? SILENT;
}

const SILENT: IndexAnswer = {
  error: {
    code: "NOT_READY",
    message: "The node fell silent before it answered.",
    hint: "See whether it still runs, and ask again.",
  },
};

/** Waits for as long as the nodes say that they work on it: how long that takes depends on the index. */
async function askIndex(
  channel: PeerChannel,
  question: Question,
  instances: readonly string[],
  { timeoutMs, signal, onWork }: AskOptions,
): Promise<Map<string, IndexAnswer>> {
  const waiting = new Map<string, NodeJS.Timeout>();
  const found = new Map<string, IndexAnswer>();
  const done = new AbortController();
  const settle = (instance: string, answer: IndexAnswer): void => {
    clearTimeout(waiting.get(instance));
    if (waiting.delete(instance)) found.set(instance, answer);
    if (waiting.size === 0) done.abort();
  };
  const expect = (instance: string): void => {
    clearTimeout(waiting.get(instance));
    waiting.set(instance, setTimeout(settle, timeoutMs, instance, SILENT));
  };
  for (const instance of instances) expect(instance);
  if (instances.length === 0) return found;
  try {
    for await (const answer of ask(channel, question, anyOf(done.signal, signal))) {
      const { instance, working, digest, check, chains, error } = answer;
      if (!waiting.has(instance)) continue;
      if (working === undefined) {
        settle(instance, {
          ...(digest === undefined ? {} : { digest }),
          ...(check === undefined ? {} : { check }),
          ...(chains === undefined ? {} : { chains }),
          ...(error === undefined ? {} : { error }),
        });
      } else {
        expect(instance);
        onWork?.(instance, working.done, working.total);
      }
    }
  } finally {
    for (const timer of waiting.values()) clearTimeout(timer);
  }
  for (const instance of waiting.keys()) found.set(instance, SILENT);
  return found;
}

/** Whatever else is sent to the inbox (a stream that takes the same subject acknowledges) is no answer. */
async function* ask(channel: PeerChannel, question: Question, signal: AbortSignal): AsyncGenerator<Answer> {
  for await (const bytes of channel.ask(encodeMessage(question), signal)) {
    const answer = decodeAnswer(bytes);
    if (answer !== undefined) yield answer;
  }
}

function anyOf(signal: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? signal : AbortSignal.any([signal, other]);
}
