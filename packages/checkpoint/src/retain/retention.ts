/** A sweep keeps the newest `retainAtLeast` and those younger than `retainNewerThan` (ms). At least one is given. */
export interface RetentionPolicy {
  readonly retainNewerThan?: number;
  /** At least 1. */
  readonly retainAtLeast?: number;
}

export interface RetainedCheckpoint {
  readonly name: string;
  /** Milliseconds since 1970 by the store's clock. */
  readonly takenAt: number;
  /** Whether nodes of this version can restore it, so that it counts towards `retainAtLeast`. */
  readonly current: boolean;
  /** Whether it has been verified. The newest verified checkpoint is always kept. Defaults to false. */
  readonly verified?: boolean;
  /** Whether it was found damaged, in which case it does not count towards `retainAtLeast`. Defaults to false. */
  readonly damaged?: boolean;
}

export interface RetentionDecision {
  readonly name: string;
  readonly keep: boolean;
  readonly because: string;
}

/** During an upgrade or a rollback, neither version may remove all of the other's checkpoints. */
const OTHER_FORMAT_GRACE_MS = 86_400_000;

/**
 * Corrects the times of a log's `checkpoints` (newest first) that are in the future, because the store's clock was wrong:
 * each counts as taken when the next one of the log was or, if it is the newest, now. Otherwise, it would stay young, and
 * with it all that is kept for it, until that time has come.
 */
export function correctTimes(checkpoints: readonly RetainedCheckpoint[], now: number): RetainedCheckpoint[] {
  let next = now;
  return checkpoints.map((one) => {
    if (one.takenAt <= now) next = one.takenAt;
    return { ...one, takenAt: next };
  });
}

/**
 * Decides which of a log's `checkpoints` (newest first) are kept: the newest `retainAtLeast` that nodes can restore and
 * that are not damaged, and those taken within `retainNewerThan` of `now`; without a policy, all. None is
 * removed while fewer than `retainAtLeast` newer ones can be restored. The newest verified one is always kept, and
 * those that only another version can restore are kept for a day.
 */
export function decideRetention(
  checkpoints: readonly RetainedCheckpoint[],
  policy: RetentionPolicy | undefined,
  now: number,
): RetentionDecision[] {
  if (policy === undefined) {
    return checkpoints.map(({ name }) => ({ name, keep: true, because: "no retention policy is set" }));
  }
  const { retainNewerThan } = policy;
  // Even a policy with only a duration keeps the checkpoint that was just saved or, in a full store, the last.
  const atLeast = Math.max(1, policy.retainAtLeast ?? 1);
  const trusted = checkpoints.find(({ current, verified }) => current && verified === true)?.name;
  // The number of checkpoints kept so far that this version can restore.
  let restorable = 0;
  return checkpoints.map(({ name, takenAt, current, damaged = false }) => {
    const age = now - takenAt;
    if (current && !damaged && restorable < atLeast) {
      restorable += 1;
      return { name, keep: true, because: `it is one of the newest ${atLeast}` };
    }
    if (name === trusted) return { name, keep: true, because: "it is the newest that was verified" };
    if (restorable < atLeast) {
      return { name, keep: true, because: `there are fewer than ${atLeast} newer ones to restore from` };
    }
    if (!current && age < OTHER_FORMAT_GRACE_MS) {
      return { name, keep: true, because: "it has a different format, and is less than a day old" };
    }
    if (retainNewerThan === undefined) {
      return { name, keep: false, because: `it is not one of the newest ${atLeast}` };
    }
    return age < retainNewerThan
      ? { name, keep: true, because: `it is ${amountOf(age)} old, younger than ${amountOf(retainNewerThan)}` }
      : {
          name,
          keep: false,
          because: `it is ${amountOf(age)} old, not younger than ${amountOf(retainNewerThan)}`,
        };
  });
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

/** Formats a duration for people, in the largest unit that fits: `9 d`, `1.5 d`, `812 ms`. */
function amountOf(ms: number): string {
  const [unit, size] = UNITS.find(([, least]) => ms >= least) ?? ["ms", 1];
  return `${Math.floor((ms / size) * 10) / 10} ${unit}`;
}
