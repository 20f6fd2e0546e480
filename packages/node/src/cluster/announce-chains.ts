import type { Clock } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { ComparePast } from "../checkpoints/compare-past.ts";
import { jittered, type RepeatedWork, repeatWork } from "../concurrency/repeated-work.ts";
import { errorFields } from "../observe/failures.ts";
import type { PeerChannel } from "../log/peer-channel.ts";
import { askCompare, askStatus } from "./ask-cluster.ts";
import type { PeerChains } from "./peer-messages.ts";

/** What a node tells the others of its chains. */
export interface OwnChains {
  readonly log: string;
  readonly chains: PeerChains;
}

/** What telling the others once works with. */
export interface SayParts {
  readonly node: string;
  readonly instance: string;
  /** How the others are reached; undefined while that is not known, or nobody else can have the log. */
  readonly channel: () => PeerChannel | undefined;
  /** Undefined while there is nothing to tell. */
  readonly own: () => Promise<OwnChains | undefined>;
  readonly comparePast: ComparePast;
}

/** What announcing works with. */
export interface AnnounceParts extends SayParts {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** About how long from one announcement to the next (ms). */
  readonly everyMs: number;
}

/** How long answers are waited for: who is behind waits until it has the transaction. */
const ANSWERS_MS = 10_000;
/** How soon a node that has just become ready is heard (ms). */
const FIRST_MS = 1_000;

/**
 * Tells all other nodes of the log this one's chains, again and again. Each of them compares, and answers where they differ, so that both
 * know of it. That one cannot speak to the others is told once: then only what lies in a checkpoint store is compared.
 */
export function announceChains(parts: AnnounceParts): RepeatedWork {
  const { clock, random, everyMs, logger } = parts;
  const pause = (): number => jittered(everyMs, random);
  let told = false;
  const announce = async (signal: AbortSignal): Promise<number> => {
    const differing = await announceOnce(parts, ANSWERS_MS, signal);
    return differing === undefined ? Math.min(FIRST_MS, everyMs) : pause();
  };
  return repeatWork(clock, { firstDelay: FIRST_MS * random(), retryDelay: pause }, announce, (error) => {
    if (isCairnError(error, "LOG_UNREACHABLE") || told) return;
    told = true;
    logger.warn(
      errorFields(error),
      "This node's index cannot be compared with those of other nodes, but with checkpoints.",
    );
  });
}

/** Once: how many answered that they differ; undefined while there is nobody to tell, or nothing. */
export async function announceOnce(
  parts: SayParts,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const channel = parts.channel();
  const own = channel === undefined ? undefined : await parts.own();
  if (channel === undefined || own === undefined) return undefined;
  const { log, chains } = own;
  const said = { log, chains, node: parts.node, instance: parts.instance };
  const differing = new Set<string>();
  for await (const other of askCompare(channel, said, { timeoutMs, signal })) {
    const difference = await parts.comparePast({
      who: whoIs(other.node),
      isStored: false,
      log,
      chains: other.chains,
    });
    if (difference !== undefined) differing.add(other.instance);
  }
  return differing.size;
}

/** Another node, for people. */
export function whoIs(node: string): string {
  return `node ${node}`;
}

const STATUS_MS = 1_000;

/** Where a node is that wants to compare its index with a rebuild, or does. */
export interface Turn {
  readonly instance: string;
  /** How many others it differs from. */
  readonly from: number;
  readonly state: "waiting" | "comparing";
}

/**
 * Whether this node has to wait before it compares its index with a rebuild, because another one does, or goes first: the one that differs
 * from the most. That says nothing of who is right, but who is wrong is likely among the first. Of those that begin at once, one goes on.
 */
export async function othersFirst(
  channel: PeerChannel | undefined,
  own: Turn,
  signal: AbortSignal,
): Promise<boolean> {
  if (channel === undefined) return false;
  const peers = await askStatus(channel, { timeoutMs: STATUS_MS, signal });
  return peers.some(({ instance, status: { index } }) => {
    const { state, from = 0 } = index.divergence ?? {};
    if (instance === own.instance || (state !== "comparing" && state !== "waiting")) return false;
    if (state === "comparing" && own.state === "waiting") return true;
    const isFirst = from > own.from || (from === own.from && instance < own.instance);
    return state === own.state && isFirst;
  });
}
