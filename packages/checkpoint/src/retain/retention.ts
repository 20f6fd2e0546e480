/** Which checkpoints a sweep keeps: the newest `retainAtLeast`, and of the rest those younger than `retainNewerThan` (ms). At least one is given. */
export interface RetentionPolicy {
  readonly retainNewerThan?: number;
  /** At least 1. */
  readonly retainAtLeast?: number;
}

/** What retention needs to know of a checkpoint. */
export interface RetainedCheckpoint {
  readonly name: string;
  /** By the store's clock, milliseconds since 1970. */
  readonly takenAt: number;
  /** Whether nodes of this version can restore it; others do not count towards `retainAtLeast`. */
  readonly current: boolean;
  /** Whether it was read back whole once. The newest of these always stays; none counts as one when left out. */
  readonly verified?: boolean;
}

/** What becomes of a checkpoint, and why (half a sentence). */
export interface RetentionDecision {
  readonly name: string;
  readonly keep: boolean;
  readonly because: string;
}

/** Nodes of two versions run side by side during an upgrade, and an upgrade may be taken back: neither may empty the other's store. */
const OTHER_FORMAT_GRACE_MS = 86_400_000;

/**
 * Which of `checkpoints` (one log's, newest first) stay: the newest `retainAtLeast` that nodes can restore; of the rest those
 * taken within `retainNewerThan` of `now`, or none when no such duration is given. A checkpoint from the future counts as
 * taken now. Without a policy all stay. Until `retainAtLeast` are there that nodes can restore, no other goes. The newest that was
 * verified stays, and those that only another version restores stay for a day.
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
  // A sweep always follows a save: even a policy of a duration alone must not remove what was just saved.
  const atLeast = Math.max(1, policy.retainAtLeast ?? 1);
  const trusted = checkpoints.find(({ current, verified }) => current && verified === true)?.name;
  // How many were kept so far that this version can restore; only those are something to fall back on.
  let safe = 0;
  return checkpoints.map(({ name, takenAt, current }) => {
    const age = Math.max(0, now - takenAt);
    if (current && safe < atLeast) {
      safe += 1;
      return { name, keep: true, because: `it is one of the newest ${atLeast}` };
    }
    if (name === trusted) return { name, keep: true, because: "it is the newest that was verified" };
    if (safe < atLeast) {
      return { name, keep: true, because: `there are fewer than ${atLeast} newer ones to restore from` };
    }
    if (!current && age < OTHER_FORMAT_GRACE_MS) {
      return { name, keep: true, because: "it is of another format, and not a day old" };
    }
    if (retainNewerThan === undefined) {
      return { name, keep: false, because: `it is not one of the newest ${atLeast}` };
    }
    return age < retainNewerThan
      ? { name, keep: true, because: `it is ${age} ms old, younger than ${retainNewerThan} ms` }
      : { name, keep: false, because: `it is ${age} ms old, not younger than ${retainNewerThan} ms` };
  });
}
