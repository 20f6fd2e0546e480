import type { Clock } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { ComparePast } from "../checkpoints/compare-past.ts";
import { jittered, type RepeatedWork, repeatWork } from "../concurrency/repeated-work.ts";
import { errorFields } from "../observe/failures.ts";
import type { PeerChannel } from "../log/peer-channel.ts";
import { askCompare } from "./ask-cluster.ts";
import type { PeerChains } from "./peer-messages.ts";

/** A node's chains, and the id of its log. */
export interface OwnChains {
  readonly log: string;
  readonly chains: PeerChains;
}

export interface AnnouncementParts {
  readonly node: string;
  readonly instance: string;
  /** Returns the channel to other nodes; undefined while it is unknown, or if no other node can have the log. */
  readonly channel: () => PeerChannel | undefined;
  /** Returns the node's chains; undefined while there is nothing to announce. */
  readonly own: () => Promise<OwnChains | undefined>;
  readonly comparePast: ComparePast;
}

export interface AnnounceParts extends AnnouncementParts {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** The approximate interval between announcements (ms). */
  readonly everyMs: number;
}

/** The time to wait for responses. Lagging nodes respond once they have the transaction. */
const ANSWERS_MS = 10_000;
/** The maximum delay of the first announcement after a node has become ready. */
const FIRST_MS = 1_000;

/**
 * Repeatedly announces this node's chains to all other nodes of the log. Each of them compares the chains and responds
 * if they differ, so that both nodes know of the difference. If the nodes cannot reach each other, this is logged once,
 * and only checkpoints are compared.
 */
export function announceChains(parts: AnnounceParts): RepeatedWork {
  const { clock, random, everyMs, logger } = parts;
  const pause = (): number => jittered(everyMs, random);
  let isLogged = false;
  const announce = async (signal: AbortSignal): Promise<number> => {
    const differing = await announceOnce(parts, ANSWERS_MS, signal);
    return differing === undefined ? Math.min(FIRST_MS, everyMs) : pause();
  };
  return repeatWork(clock, { firstDelay: FIRST_MS * random(), retryDelay: pause }, announce, (error) => {
    if (isCairnError(error, "LOG_UNREACHABLE") || isLogged) return;
    isLogged = true;
    logger.warn(
      errorFields(error),
      "This node's index cannot be compared with those of other nodes, only with checkpoints.",
    );
  });
}

/** Returns the number of differing nodes; undefined while there is no channel or nothing to announce. */
export async function announceOnce(
  parts: AnnouncementParts,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const channel = parts.channel();
  const own = channel === undefined ? undefined : await parts.own();
  if (channel === undefined || own === undefined) return undefined;
  const { log, chains } = own;
  const announcement = { log, chains, node: parts.node, instance: parts.instance };
  const differing = new Set<string>();
  for await (const other of askCompare(channel, announcement, { timeoutMs, signal })) {
    const difference = await parts.comparePast({
      who: nodeLabel(other.node),
      isStored: false,
      log,
      chains: other.chains,
    });
    if (difference !== undefined) differing.add(other.instance);
  }
  return differing.size;
}

/** Returns the form in which messages name another node. */
export function nodeLabel(node: string): string {
  return `node ${node}`;
}
