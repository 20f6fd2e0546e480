import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import {
  askEach,
  askStatus,
  INDEX_VERSION,
  type Peer,
  type rebuildIndex,
  type PeerChannel,
} from "@cairn/engine";
import { madeOnce } from "@cairn/text";

export type AnsweredIndex = Awaited<ReturnType<typeof askEach>> extends Map<string, infer A> ? A : never;

export type Rebuilt = Pick<Awaited<ReturnType<typeof rebuildIndex>>, "digest" | "basis">;

/** The result of comparing the nodes of one log. */
export interface Comparison {
  readonly txId: TxId;
  /** The responses, by instance. */
  readonly answers: ReadonlyMap<string, AnsweredIndex>;
  /** The verdict on the nodes with this process's index version, or else with the most common version. */
  readonly verdict: DigestVerdict;
  /** The instances that the verdict concerns. A rebuild is compared with these. */
  readonly compared: ReadonlySet<string>;
  /** The nodes with other index versions, compared within each version. */
  readonly others: readonly OtherVersion[];
  /** The rebuild. It is present if nodes differ or a rebuild was requested, and is an error if the rebuild failed. */
  readonly rebuilt: Rebuilt | CairnError | undefined;
  /** The results of the self-checks of nodes that differ from the rebuild, by instance. */
  readonly checks: ReadonlyMap<string, AnsweredIndex>;
}

/** The nodes with one other index version, and how they compare among themselves. */
export interface OtherVersion extends VersionGroup {
  readonly verdict: DigestVerdict;
}

interface CompareOptions {
  readonly timeoutMs: number;
  /** If true, the nodes are compared with a rebuild even if they all agree. */
  readonly always: boolean;
  /** Builds an index from the log, up to the given transaction. */
  readonly rebuild: (txId: TxId) => Promise<Rebuilt>;
  readonly onCheck: (peer: Peer, done: number, total: number) => void;
}

/** Nodes report every second that they are working on a response, but the report of a busy node may be late. */
const MIN_SILENCE_MS = 10_000;
/** The time that nodes have to reach the transaction at which they are compared. */
const CATCH_UP_MS = 30_000;
/** If documents are evicted while nodes are queried, another attempt uses a later transaction. */
const MAX_TRIES = 5;

/**
 * Compares the indexes of these nodes at a transaction that all have. A rebuild from the log shows which are wrong;
 * each is asked to check itself, because a node leaves its index only for a fault that it finds itself. Indexes are
 * compared only within a version: across versions, differences mean nothing.
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
  const checks = new Map<string, AnsweredIndex>();
  const found = { txId, answers, verdict, compared, others, checks };
  const needed = verdict.kind === "differs" || (options.always && verdict.kind === "same");
  if (!needed) return { ...found, rebuilt: undefined };
  if (first.version !== INDEX_VERSION) {
    const message = `The nodes have indexes of version ${first.version}, but this command builds indexes of version ${INDEX_VERSION}.`;
    const hint = "Run the command of the version of Cairn that the nodes run.";
    return { ...found, rebuilt: new CairnError("INDEX_VERSION", message, hint) };
  }
  // The nodes' digests are useful even without a rebuild.
  const rebuilt = await options.rebuild(txId).catch((error: unknown) => {
    if (isCairnError(error)) return error;
    throw error;
  });
  if (isCairnError(rebuilt)) return { ...found, rebuilt };
  for (const peer of first.peers) {
    const digest = answers.get(peer.instance)?.digest?.digest;
    if (digest === undefined || digest === rebuilt.digest) continue;
    const onWork = (_instance: string, done: number, total: number): void =>
      options.onCheck(peer, done, total);
    const ask = { timeoutMs: silenceOf(options), onWork };
    const question = { ask: "check", log, txId, instance: peer.instance } as const;
    for (const [instance, answer] of await askEach(channel, [peer], question, ask))
      checks.set(instance, answer);
  }
  return { ...found, rebuilt };
}

function answersOf(
  { peers }: VersionGroup,
  answers: ReadonlyMap<string, AnsweredIndex>,
): Map<string, AnsweredIndex> {
  const instances = new Set(peers.map(({ instance }) => instance));
  return new Map([...answers].filter(([instance]) => instances.has(instance)));
}

function silenceOf({ timeoutMs }: CompareOptions): number {
  return Math.max(timeoutMs, MIN_SILENCE_MS);
}

async function digestsAt(
  channel: PeerChannel,
  log: string,
  peers: readonly Peer[],
  options: CompareOptions,
): Promise<Pick<Comparison, "txId" | "answers">> {
  let txId = commonTransaction(peers);
  for (let tries = 1; ; tries += 1) {
    const question = { ask: "digest", log, txId, waitMs: CATCH_UP_MS } as const;
    const answers = await askEach(channel, peers, question, { timeoutMs: silenceOf(options) });
    // A later transaction is asked for if a node's history no longer covers this one.
    const isOutdated = [...answers.values()].some(({ error }) => error?.code === "CONFLICT");
    if (!isOutdated || tries === MAX_TRIES) return { txId, answers };
    const now = await askStatus(channel, { timeoutMs: options.timeoutMs });
    txId = Math.max(txId, commonTransaction(now.filter(({ status }) => status.log.id === log)));
  }
}

/** The newest transaction that any of them has; the others wait until they have it. */
function commonTransaction(peers: readonly Peer[]): TxId {
  // A halted node may have transactions that the log has lost.
  const following = peers.filter(({ status }) => status.phase === "ready" || status.phase === "replaying");
  return Math.max(0, ...following.map(({ status }) => status.index.txId ?? 0));
}

/** `differs` means that the digests are not all equal, and `none` means that there are no digests. */
type DigestVerdict =
  | { readonly kind: "same"; readonly digest: string; readonly nodes: number }
  | { readonly kind: "differs"; readonly digests: readonly string[] }
  | { readonly kind: "none" };

/** Nodes with one index version. */
interface VersionGroup {
  readonly version: number;
  readonly peers: readonly Peer[];
}

/** The group of version `own` comes first, the others by size. Digests are comparable only within a group. */
function byIndexVersion(peers: readonly Peer[], own: number): VersionGroup[] {
  const groups = new Map<number, Peer[]>();
  for (const peer of peers) {
    madeOnce(groups, peer.status.index.version, () => []).push(peer);
  }
  const rank = ({ version, peers: { length } }: VersionGroup): number =>
    version === own ? Number.POSITIVE_INFINITY : length;
  return [...groups]
    .map(([version, same]) => ({ version, peers: same }))
    .toSorted((a, b) => rank(b) - rank(a));
}

/** The number of nodes with a digest does not prove it right, so there is no majority vote. */
function judgeDigests(answers: ReadonlyMap<string, AnsweredIndex>): DigestVerdict {
  const given = [...answers.values()].flatMap(({ digest }) => (digest === undefined ? [] : [digest.digest]));
  const digests = [...new Set(given)].toSorted();
  const [digest] = digests;
  if (digest === undefined) return { kind: "none" };
  return digests.length === 1 ? { kind: "same", digest, nodes: given.length } : { kind: "differs", digests };
}
