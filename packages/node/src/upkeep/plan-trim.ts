import { type CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { Duration } from "luxon";
import { type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { findTrimFloor, type TrimFloor } from "./trim-floor.ts";

/** What trimming goes by. */
export interface TrimOptions {
  readonly log: TxLog;
  /** Where nodes look for checkpoints when they join. */
  readonly stores: readonly CheckpointStore[];
  /** The format of the files that nodes can open. */
  readonly kvFormat: string;
  /** Messages younger than this stay (ms), counted back from the newest; no age keeps any when left out. */
  readonly keep?: number | undefined;
  /** Milliseconds since 1970; this machine's clock when left out. */
  readonly now?: () => number;
}

/** How far a log may be trimmed. */
export interface TrimPlan {
  readonly log: string;
  /** Positions of the first message that the log holds, and of the last. */
  readonly first: number;
  readonly last: number;
  /** The first message that stays; `first` when none may go. */
  readonly upTo: number;
  /** The checkpoint that holds what goes. */
  readonly checkpoint: { readonly name: string; readonly store: string; readonly txId: number } | null;
  /** Why not more goes, a sentence. */
  readonly because: string;
}

/**
 * How far the log may be trimmed now: never beyond the last message of the oldest checkpoint that nodes can rely on, which stays
 * itself, and never into what is to be kept by its age. Errors: `NOT_FOUND` (there is no log), `CONFIG_INVALID` (the log
 * cannot be trimmed), `LOG_UNREACHABLE`, `STORE_UNREACHABLE`.
 */
export async function planTrim(options: TrimOptions): Promise<TrimPlan> {
  const { log } = options;
  if (log.trim === undefined) throw untrimmable(log.name);
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw absent(log.name);
  const { first, last } = identity.bounds;
  const nothing = { log: log.name, first, last, upTo: first, checkpoint: null };
  if ((await log.id()) !== identity.id) {
    const because = "The log's id stands in its first message only: without it nodes would not know the log.";
    return { ...nothing, because };
  }
  const floor = await findTrimFloor(options, identity);
  if ("refused" in floor) return { ...nothing, because: floor.refused };
  return await planAbove(options, identity, floor);
}

/** Trims as {@link planTrim} says, and answers what it said. */
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
      ? `Message ${upTo} and what follows is younger than ${age}.`
      : `Message ${position} is the last one in ${checkpoint.name}, the oldest checkpoint that is verified.`;
  return { log: log.name, first, last, upTo, checkpoint, because };
}

/**
 * The first position in `range` whose message is younger than `keep`, else its last. An age is the time to the log's newest message,
 * or to this machine's now where that is earlier: a clock that is ahead must not trim what is young.
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
  return new CairnError("CONFIG_INVALID", `The log "${name}" is of a kind that cannot be trimmed.`, {
    hint: "Leave trim out of cairn/tx-log. Logs on NATS and embedded ones can be trimmed.",
  });
}

function absent(name: string): CairnError {
  return new CairnError("NOT_FOUND", `There is no log "${name}" there yet.`, {
    hint: "Nothing was trimmed. Check the log's address and name.",
  });
}
