import { timeoutSignal } from "@cairn/client/protocol";
import type { Chains, PeerStatus } from "@cairn/client";
import { type CancelTimer, startTimer, unlessFailed, withTimeout } from "@cairn/kv";
import type { PeerChannel } from "../log/peer-channel.ts";
import {
  type Answer,
  decodeAnswer,
  encodeMessage,
  type IndexAnswer,
  IndexAnswerSchema,
  type Question,
  type SilentNode,
} from "./peer-messages.ts";

export interface Peer extends Pick<Answer, "instance" | "node" | "host" | "pid" | "startedAt"> {
  readonly status: PeerStatus;
}

type AboutIndex = Question extends infer Q
  ? Q extends { readonly log: string }
    ? Omit<Q, "cairn">
    : never
  : never;

export interface AskOptions {
  /** The time to wait for responses. For long tasks, it is the maximum silence of a node. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onWork?: (instance: string, done: number, total: number) => void;
}

/** How long to wait for nodes that are not expected, once all the expected ones have responded (ms). */
const SETTLE_MS = 100;

/**
 * Returns the nodes that respond in time, ordered by id, then start time. One that does not respond cannot be told from
 * an absent one. Waits only a moment after all `expected` instances have responded.
 */
export async function askStatus(
  channel: PeerChannel,
  options: AskOptions & { readonly expected?: ReadonlySet<string> | undefined },
): Promise<Peer[]> {
  const { timeoutMs, signal, expected } = options;
  const peers = new Map<string, Peer>();
  const missing = new Set(expected);
  const settled = new AbortController();
  const cancelDeadline = startTimer(timeoutMs, () => settled.abort());
  let cancelSettling: CancelTimer | undefined;
  try {
    for await (const answer of ask(channel, { cairn: 1, ask: "status" }, anyOf(settled.signal, signal))) {
      const { instance, node, host, pid, startedAt, status } = answer;
      if (status !== undefined) peers.set(instance, { instance, node, host, pid, startedAt, status });
      missing.delete(instance);
      if (expected !== undefined && missing.size === 0)
        cancelSettling ??= startTimer(SETTLE_MS, () => settled.abort());
    }
  } finally {
    cancelDeadline();
    cancelSettling?.();
  }
  const order = ({ node, startedAt, instance }: Peer): string => `${node}\0${startedAt}\0${instance}`;
  return [...peers.values()].toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** Asks nodes about their indexes of one log. Waits as long as they report that they work, however large the index. */
export async function askEach(
  channel: PeerChannel,
  peers: readonly Pick<Peer, "instance">[],
  question: AboutIndex,
  options: AskOptions,
): Promise<Map<string, IndexAnswer>> {
  const waiting = new Map<string, CancelTimer>();
  const found = new Map<string, IndexAnswer>();
  const done = new AbortController();
  const settle = (instance: string, answer: IndexAnswer): void => {
    waiting.get(instance)?.();
    if (waiting.delete(instance)) found.set(instance, answer);
    if (waiting.size === 0) done.abort();
  };
  const expect = (instance: string): void => {
    waiting.get(instance)?.();
    const silent = (): void => settle(instance, SILENT);
    waiting.set(instance, startTimer(options.timeoutMs, silent));
  };
  for (const { instance } of peers) expect(instance);
  if (peers.length === 0) return found;
  try {
    for await (const answer of ask(channel, { cairn: 1, ...question }, anyOf(done.signal, options.signal))) {
      const { instance, working } = answer;
      if (!waiting.has(instance)) continue;
      if (working === undefined) settle(instance, IndexAnswerSchema.parse(answer));
      else {
        expect(instance);
        options.onWork?.(instance, working.done, working.total);
      }
    }
  } finally {
    for (const cancel of waiting.values()) cancel();
  }
  for (const instance of waiting.keys()) found.set(instance, SILENT);
  return found;
}

const SILENT: IndexAnswer = {
  error: {
    code: "NOT_READY",
    message: "The node stopped responding before it had finished.",
    hint: "Check whether the node is still running, and try again.",
  },
};

/**
 * Returns the nodes that these nodes have heard from within the last hour but that did not respond, ordered by id.
 * Those that announced that they stop, or responded under the same id after a restart, do not count.
 */
export async function askSilent(
  channel: PeerChannel,
  peers: readonly Peer[],
  log: string,
  options: AskOptions,
): Promise<SilentNode[]> {
  const instances = peers.map(({ instance }) => instance);
  const answers = await askEach(channel, peers, { ask: "others", log, instances }, options);
  const present = new Set(peers.map(({ node }) => node));
  // Of the processes that a node has had, the one that was heard from last is the node.
  const silent = new Map<string, SilentNode>();
  for (const one of [...answers.values()].flatMap(({ others = [] }) => others)) {
    const known = silent.get(one.node);
    if (!present.has(one.node) && one.forMs <= (known?.forMs ?? Infinity)) silent.set(one.node, one);
  }
  return [...silent.values()].toSorted((a, b) => (a.node < b.node ? -1 : 1));
}

/** The maximum time for which a stopping node, which has ten seconds, waits until its announcement is sent. */
const LEAVING_MS = 3_000;

/**
 * Announces that this node stops, so that it is not reported missing, within a time that suffices for slow networks. The
 * message may be lost.
 */
export async function tellLeaving(channel: PeerChannel, node: string): Promise<void> {
  const told = async (): Promise<void> => {
    const signal = timeoutSignal(LEAVING_MS);
    // Messages from one publisher arrive in order, so a single response proves that the announcement was sent.
    for await (const _ of ask(channel, { cairn: 1, ask: "leaving", node }, signal)) return;
  };
  await withTimeout(unlessFailed(told(), "any", undefined), LEAVING_MS);
}

/** Announces chains to all other nodes. Yields the chains of differing nodes that arrive in time. */
export async function* askCompare(
  channel: PeerChannel,
  own: Pick<Extract<Question, { ask: "compare" }>, "log" | "node" | "instance" | "chains">,
  { timeoutMs, signal }: AskOptions,
): AsyncGenerator<Pick<Answer, "node" | "instance"> & { readonly chains: Chains }> {
  const deadline = timeoutSignal(timeoutMs);
  for await (const answer of ask(channel, { cairn: 1, ask: "compare", ...own }, anyOf(deadline, signal))) {
    const { node, instance, chains } = answer;
    if (chains !== undefined) yield { node, instance, chains };
  }
}

/** Skips other messages in the inbox, such as the acknowledgement from a stream with the same subject. */
async function* ask(channel: PeerChannel, question: Question, signal: AbortSignal): AsyncGenerator<Answer> {
  for await (const bytes of channel.ask(encodeMessage(question), signal)) {
    const answer = decodeAnswer(bytes);
    if (answer !== undefined) yield answer;
  }
}

function anyOf(signal: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? signal : AbortSignal.any([signal, other]);
}
