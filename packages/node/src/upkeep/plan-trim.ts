import { type CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { Duration } from "luxon";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { findTrimFloor, type TrimFloor } from "./trim-floor.ts";

/** The log to trim, and the rules for trimming it. */
export interface TrimOptions {
  readonly log: TxLog;
  /** The stores in which joining nodes look for checkpoints. */
  readonly stores: readonly CheckpointStore[];
  /** The file format that the nodes can open. */
  readonly kvFormat: string;
  /**
   * The age in milliseconds, relative to the newest message, below which messages are kept. If undefined, no message is kept for its age.
   */
  readonly keep?: number | undefined;
  /** The time in milliseconds since 1970; by default that of this machine's clock. */
  readonly now?: () => number;
}

/** The extent to which a log may be trimmed. */
export interface TrimPlan {
  readonly log: string;
  /** The positions of the first and last message in the log. */
  readonly first: number;
  readonly last: number;
  /** The first message that is kept; equals `first` if nothing may be trimmed. */
  readonly upTo: number;
  /** The checkpoint that contains what is trimmed. */
  readonly checkpoint: { readonly name: string; readonly store: string; readonly txId: number } | null;
  /** A sentence that says why no more is trimmed. */
  readonly because: string;
}

/**
 * Plans how far the log may be trimmed now: up to the last message of the oldest checkpoint on which nodes can rely (that message is kept),
 * and no further than `keep` allows. Throws `NOT_FOUND` (there is no log), `CONFIG_INVALID` (the log cannot be trimmed), `LOG_UNREACHABLE`
 * or `STORE_UNREACHABLE`.
 */
export async function planTrim(options: TrimOptions): Promise<TrimPlan> {
  const { log } = options;
  if (log.trim === undefined) throw untrimmable(log.name);
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw noLog(log.name);
  const { first, last } = identity.bounds;
  const nothing = { log: log.name, first, last, upTo: first, checkpoint: null };
  if ((await log.id()) !== identity.id) {
    const because =
      "Only the first message has the id of the log: without it nodes could not recognize the log.";
    return { ...nothing, because };
  }
  const floor = await findTrimFloor(options, identity);
  if ("refused" in floor) return { ...nothing, because: floor.refused };
  return await planAbove(options, identity, floor);
}

/** Trims according to {@link planTrim}, and returns the plan. */
export async function trimLog(options: TrimOptions): Promise<TrimPlan> {
  const plan = await planTrim(options);
  if (plan.upTo > plan.first) await options.log.trim?.(plan.upTo);
  return plan;
}

async function planAbove(
  { log, keep, now = Date.now }: TrimOptions,
  { bounds }: LogIdentity,
  { position, checkpoint }: TrimFloor,
): Promise<TrimPlan> {
  const { first, last } = bounds;
  const upTo =
    keep === undefined ? position : await firstYoung(log, { first, last: position }, last, keep, now);
  const age = Duration.fromMillis(keep ?? 0)
    .rescale()
    .toISO();
  const because =
    upTo < position
      ? `Message ${upTo} and those after it are younger than ${age}.`
      : `Message ${position} is the last one in ${checkpoint.name}, the oldest checkpoint that is verified.`;
  return { log: log.name, first, last, upTo, checkpoint, because };
}

/**
 * Returns the first position in `range` whose message is younger than `keep`, else the last position. Ages are relative to the newest
 * message or this machine's clock, whichever is earlier, so that a clock that is ahead does not trim young messages.
 */
async function firstYoung(
  log: TxLog,
  range: { readonly first: number; readonly last: number },
  newest: number,
  keep: number,
  now: () => number,
): Promise<number> {
  const reference = Math.min(now(), (await log.fetch(newest))?.time ?? 0);
  const isYoung = async (position: number): Promise<boolean> => {
    const message = await log.fetch(position);
    return message !== undefined && message.time > reference - keep;
  };
  let [low, high] = [range.first, range.last];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await isYoung(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function untrimmable(name: string): CairnError {
  return new CairnError("CONFIG_INVALID", `The log "${name}" cannot be trimmed.`, {
    hint: "Leave trim out of cairn/tx-log. Logs on NATS and embedded ones can be trimmed.",
  });
}

function noLog(name: string): CairnError {
  return new CairnError("NOT_FOUND", `There is no log "${name}" there yet.`, {
    hint: "Nothing was trimmed. Check the log's address and name.",
  });
}
