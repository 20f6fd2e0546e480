import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { PeerChannel } from "../log/peer-channel.ts";
import { askCheck, askDigests, askStatus, type IndexAnswer, type Peer } from "./ask-cluster.ts";
import {
  byIndexVersion,
  commonTransaction,
  type DigestVerdict,
  judgeDigests,
  outdated,
  type VersionGroup,
} from "./judge-digests.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import type { RebuiltIndex } from "../replay/rebuild-index.ts";

/** What a rebuild gave, and what it was made of. */
export type Rebuilt = Pick<RebuiltIndex, "digest" | "basis">;

/** What comparing the nodes of one log came to. */
export interface Comparison {
  readonly txId: TxId;
  /** By instance. */
  readonly answers: ReadonlyMap<string, IndexAnswer>;
  /** Of the nodes whose index has the version of this process's; where there are none, of the most that have one version. */
  readonly verdict: DigestVerdict;
  /** By instance: those that the verdict is of, and that a rebuild is compared with. */
  readonly compared: ReadonlySet<string>;
  /** Of nodes whose indexes have other versions, each compared among themselves. */
  readonly others: readonly OtherVersion[];
  /** Made where nodes differ, or it was asked for; an error says why it could not be made. */
  readonly rebuilt: Rebuilt | CairnError | undefined;
  /** What the nodes that differ from the rebuild found themselves, by instance. */
  readonly checks: ReadonlyMap<string, IndexAnswer>;
}

/** Nodes of one index version, which is not that of the others. */
export interface OtherVersion extends VersionGroup {
  readonly verdict: DigestVerdict;
}

/** How to compare. */
export interface CompareOptions {
  /** How long to wait for nodes that say where they are. */
  readonly timeoutMs: number;
  /** How long a node that works on an answer may say nothing. */
  readonly silenceMs: number;
  /** How long nodes may take to reach the transaction. */
  readonly waitMs: number;
  /** Compares with a rebuild though all nodes agree. */
  readonly always: boolean;
  /** Builds an index up to a transaction out of the log. */
  readonly rebuild: (txId: TxId) => Promise<Rebuilt>;
  readonly onCheck?: (peer: Peer, done: number, total: number) => void;
}

/** Documents may be evicted while nodes are asked; then they are asked about a later transaction. */
const TRIES = 5;

/**
 * Compares the indexes of these nodes at a transaction that all of them have. Where they differ, a rebuild out of the log tells which
 * is wrong, and each wrong one is asked to see for itself: a node leaves its index only because of what it found. Only indexes of one
 * version are compared, with one another and with a rebuild: while a cluster is upgraded, a difference between two says nothing.
 */
export async function compareNodes(
  channel: PeerChannel,
  log: string,
  peers: readonly Peer[],
  options: CompareOptions,
): Promise<Comparison> {
  const { txId, answers } = await digestsAt(channel, log, peers, options);
  const [first = { version: INDEX_VERSION, peers }, ...rest] = byIndexVersion(peers, INDEX_VERSION);
  const judged = (group: VersionGroup): DigestVerdict => judgeDigests(answersOf(group, answers));
  const verdict = judged(first);
  const others = rest.map((group) => ({ ...group, verdict: judged(group) }));
  const compared = new Set(first.peers.map(({ instance }) => instance));
  const checks = new Map<string, IndexAnswer>();
  const found = { txId, answers, verdict, compared, others, checks };
  const needed = verdict.kind === "differs" || (options.always && verdict.kind === "same");
  if (!needed) return { ...found, rebuilt: undefined };
  if (first.version !== undefined && first.version !== INDEX_VERSION) {
    return { ...found, rebuilt: otherVersion(first.version) };
  }
  const rebuilt = await tryRebuild(options, txId);
  if (isCairnError(rebuilt)) return { ...found, rebuilt };
  for (const peer of first.peers) {
    const digest = answers.get(peer.instance)?.digest?.digest;
    if (digest === undefined || digest === rebuilt.digest) continue;
    const onWork = (_instance: string, done: number, total: number): void =>
      options.onCheck?.(peer, done, total);
    const ask = { timeoutMs: options.silenceMs, onWork };
    checks.set(peer.instance, await askCheck(channel, peer, { log, txId }, ask));
  }
  return { ...found, rebuilt };
}

function answersOf(
  { peers }: VersionGroup,
  answers: ReadonlyMap<string, IndexAnswer>,
): Map<string, IndexAnswer> {
  const instances = new Set(peers.map(({ instance }) => instance));
  return new Map([...answers].filter(([instance]) => instances.has(instance)));
}

/** This process cannot build such an index. */
function otherVersion(version: number): CairnError {
  return new CairnError(
    "INDEX_VERSION",
    `The nodes have indexes of version ${version}, this command builds those of version ${INDEX_VERSION}.`,
    { hint: "Run the command of the version of Cairn that the nodes have." },
  );
}

/** That it cannot be made is an answer, too: the nodes' digests are worth showing all the same. */
async function tryRebuild({ rebuild }: CompareOptions, txId: TxId): Promise<Rebuilt | CairnError> {
  try {
    return await rebuild(txId);
  } catch (error) {
    if (isCairnError(error)) return error;
    throw error;
  }
}

async function digestsAt(
  channel: PeerChannel,
  log: string,
  peers: readonly Peer[],
  { timeoutMs, silenceMs, waitMs }: CompareOptions,
): Promise<Pick<Comparison, "txId" | "answers">> {
  let txId = commonTransaction(peers);
  for (let tries = 1; ; tries += 1) {
    const answers = await askDigests(channel, peers, { log, txId, waitMs }, { timeoutMs: silenceMs });
    if (!outdated(answers) || tries === TRIES) return { txId, answers };
    const now = await askStatus(channel, { timeoutMs });
    txId = Math.max(txId, commonTransaction(now.filter(({ status }) => status.log.id === log)));
  }
}
