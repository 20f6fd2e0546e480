import {
  beginLife,
  type Network,
  type NodeLife,
  type RequestKind,
  seededRandom,
  simulatedStore,
  type StoreContents,
  type StoreWatcher,
  transportOf,
  virtualTime,
} from "@cairn/checkpoint/testing";
import { isCairnError, Semaphore } from "@cairn/kv";
import { LogBackup } from "../../../src/backup/write/log-backup.ts";
import type { Conditions } from "./conditions.ts";
import { Coverage } from "./coverage.ts";
import { mend } from "./operator.ts";
import { SimulatedCheckpoints } from "./simulated-checkpoints.ts";
import { simulatedLog } from "./simulated-log.ts";
import { startReader } from "./simulated-reader.ts";

/** The results of a simulation. */
export interface BackupReport {
  readonly conditions: Conditions;
  readonly violations: readonly string[];
  readonly messages: number;
  readonly covered: number;
  /** Segments with new messages, per period. */
  readonly writtenPerPeriod: number;
  /** Uploads of messages that were already in a segment (merged, or written by two nodes), per period. */
  readonly againPerPeriod: number;
  /** The bytes of `againPerPeriod` relative to the bytes of `writtenPerPeriod`. */
  readonly bytesAgain: number;
  readonly requestsPerLook: number;
  /** The requests of nodes by kind, per look. */
  readonly perLook: Requests;
  /** The requests of a reader by kind, per period. */
  readonly perReader: Requests;
  readonly looks: number;
  readonly segments: number;
  /** The longest time until a message was in a segment, in periods. */
  readonly longest: number;
  /** The longest time for which a node reported that messages were exposed, in periods. */
  readonly longestReported: number;
}

/** Numbers of requests to the store. */
export type Requests = Readonly<Record<RequestKind, number>>;

/** The errors that faults explain. */
const EXPECTED = ["STORE_UNREACHABLE", "LOG_TRIMMED"] as const;
/** The maximum error (ms) of a node's estimate of the store's time, which a single request measures. */
const CLOCK_ERROR_MS = 100;
/** The time after which a lease that a dead node left behind is taken over (ms), unless the period is longer. */
const LEASE_MS = 10_000;
/**
 * The factor by which a merged segment is damaged more often: such segments are few, and may hold the only copies of
 * their messages.
 */
const MERGED_DAMAGE = 10;
/** The number of periods within which the backup must be complete again once there are no more faults. */
const CATCH_UP_PERIODS = 40;

/**
 * Runs nodes with a log backup in virtual time, from their first start. The same conditions produce nearly the same
 * report: long work of a look pauses by real time.
 */
export async function simulateBackup(conditions: Conditions): Promise<BackupReport> {
  const { every, periods, storm, exclusive, messageBytes, keep } = conditions;
  const random = seededRandom(conditions.seed);
  const time = virtualTime();
  const begunAt = time.now();
  const simulated = simulatedLog(time, messageBytes);
  const { log, append, trim } = simulated;
  append();
  const problems: string[] = [];
  let isStoreUp = true;
  let isCalm = false;
  /** When the log last lost its end, or the operator last removed what it still holds. */
  let lostAt: number | undefined;
  const requests = noRequests();
  let looks = 0;
  let longestReported = 0;
  const contents: StoreContents = {
    files: new Map(),
    now: () => Math.floor(time.now() + 3_000),
    exclusive,
    atomic: exclusive,
    writes: 0,
  };
  const network: Network = {
    time,
    random: random.fork(),
    isStoreUp: () => isStoreUp,
    get failing() {
      return isCalm ? 0 : storm.failing;
    },
    timeout: Math.min(5_000, every / 10),
    upload: conditions.upload,
    pieces: 1,
    onStep(life, kind: RequestKind, when) {
      if (when === "before") requests[kind] += 1;
      if (isCalm || kind === "list" || life.isDead() || !random.chance(storm.atStep)) return;
      if (when === "before" || random.chance(0.4)) kill(life);
      else freeze(life);
    },
  };
  const readRequests = noRequests();
  const readers = Array.from({ length: conditions.readers }, (_, nth) =>
    startReader({
      node: `reader-${nth}`,
      contents,
      log: simulated,
      every,
      network: {
        time,
        random: seededRandom(conditions.seed + nth),
        isStoreUp: () => isStoreUp,
        get failing() {
          return network.failing;
        },
        timeout: network.timeout,
        upload: network.upload,
        pieces: 1,
        onStep(_life, kind, when) {
          if (when === "before") readRequests[kind] += 1;
        },
      },
    }),
  );
  const checkpoints = new SimulatedCheckpoints(contents, simulated, seededRandom(conditions.seed));
  const begins = (): number[] => [...contents.files.keys()].flatMap((name) => beginOf(name) ?? []);
  /**
   * What an operator is removing: only what the log has lost, or also what it holds; undefined if no operator is at
   * work.
   */
  let mending: "lost" | "held" | undefined;
  const operator = new Semaphore();
  const coverage = new Coverage(time, simulated, (message, { modifiedAt }) => {
    const { position } = message;
    if (mending !== undefined) {
      const isAllowed = mending === "held" && simulated.at(position) !== undefined;
      if (isAllowed) lostAt = time.now();
      return isAllowed || !simulated.isCurrent(message)
        ? undefined
        : `when the operator removed what was ${mending}`;
    }
    if (keep === "all" || contents.now() - modifiedAt <= keep - CLOCK_ERROR_MS)
      return "although it is not old";
    if (position >= (checkpoints.verified ?? 0)) return "although no verified checkpoint covers it";
    if (position >= checkpoints.needed) return "although a checkpoint needs it";
    return begins().some((begin) => begin > position) ? undefined : "although no file records that";
  });
  const watcher: StoreWatcher = {
    written(name, file) {
      const { damaging } = conditions;
      const isDamaged = coverage.onWritten(name, file, (isNew) => {
        if (damaging === 0 || mending !== undefined) return false;
        return random.chance(isNew ? damaging : MERGED_DAMAGE * damaging);
      });
      if (isDamaged) {
        const at = Math.floor(random.between(0, file.content.length));
        file.content[at] = (file.content[at] ?? 0) ^ 1;
      }
      const begin = beginOf(name);
      if (begin !== undefined && !coverage.everEndedAt(begin - 1))
        problems.push(`no segment ever ended before transaction ${begin}, at which the backup now begins`);
    },
    removed(name) {
      coverage.onRemoved(name);
      const begin = beginOf(name) ?? 0;
      if (begin > 0 && begins().every((one) => one < begin))
        problems.push(`${name} was removed, but no later one exists`);
    },
  };
  /** The store as an operator uses it: without a network. */
  const direct = simulatedStore(
    contents,
    { request: async (_kind, work) => work(), transfer: async () => undefined },
    watcher,
  );
  const lives = new Map<number, { life: NodeLife; backup: LogBackup }>();

  const start = (node: number): void => {
    const life = beginLife(`node-${node}`, time, random.between(-every / 2, every / 2));
    const backup = new LogBackup({
      store: simulatedStore(contents, transportOf(life, network), {
        ...watcher,
        uploadBegins() {
          if (!isCalm && conditions.stalling > 0 && random.chance(conditions.stalling)) freeze(life);
        },
      }),
      log,
      of: { id: "simulated", name: log.name, offset: 0 },
      node: life.node,
      options: { every, keep, codec: "none" },
      verifiedUpTo: async () => checkpoints.verified,
      onLook: ({ merged, covered }) => {
        looks += 1;
        for (const segment of merged) if (segment.isNew) coverage.onMerged(segment);
        const lookedAt = Date.parse(backup.status(0).lastLookAt ?? "") - life.clock.now() + time.now();
        // A look that began before may report what was true then.
        if (lostAt === undefined || lookedAt <= lostAt || conditions.damaging > 0) return;
        const { last } = simulated.bounds();
        for (const range of covered)
          for (const position of coverage.missing(range.first, Math.min(range.last, last)))
            problems.push(
              `${life.node} reports that position ${position} is backed up, but only a different history is`,
            );
      },
      onError: (error) => {
        looks += 1;
        const regresses = Number.isFinite(conditions.regressEvery) && isCairnError(error, "LOG_REGRESSED");
        if (!regresses && !EXPECTED.some((code) => isCairnError(error, code))) problems.push(String(error));
      },
      clock: life.clock,
      random: random.fork().next,
    });
    lives.set(node, { life, backup });
    backup.start();
  };
  const kill = (life: NodeLife | undefined): void => {
    for (const [node, one] of lives) {
      if (life === undefined || one.life !== life) continue;
      life.kill();
      lives.delete(node);
      time.plan(random.magnitude(1_000, 3 * every + 1_000), () => {
        if (!lives.has(node)) start(node);
        return true;
      });
    }
  };
  const freeze = (life: NodeLife | undefined): void => {
    if (life === undefined || life.isFrozen()) return;
    life.freeze();
    // The pause lasts many periods, so that the node continues with outdated knowledge.
    time.plan(random.magnitude(every / 10, 200 * every), () => {
      life.thaw();
      return true;
    });
  };
  const repeat = (mean: number, happen: () => void): void => {
    if (!Number.isFinite(mean)) return;
    time.plan(random.after(mean * every), () => {
      if (!isCalm || happen === grow) happen();
      repeat(mean, happen);
      return true;
    });
  };
  const grow = (): void => {
    append();
    for (const { life, backup } of lives.values()) {
      if (life.isFrozen()) continue;
      backup.applied({ bytes: messageBytes, transactions: 1 });
      const { since } = backup.status(simulated.bounds().last).exposed;
      if (since !== null) longestReported = Math.max(longestReported, life.clock.now() - Date.parse(since));
    }
  };

  for (let node = 0; node < conditions.nodes; node += 1) {
    start(node);
    repeat(storm.crashEvery, () => kill(lives.get(node)?.life));
    repeat(storm.freezeEvery, () => freeze(lives.get(node)?.life));
  }
  repeat(storm.outageEvery, () => {
    isStoreUp = false;
    time.plan(random.magnitude(every / 10, 5 * every), () => {
      isStoreUp = true;
      return false;
    });
  });
  repeat(1 / conditions.messagesPerPeriod, grow);
  if (conditions.trims) repeat(5, () => trim(coverage.end));
  if (keep !== "all") repeat(keep / every / 3, () => checkpoints.save());
  repeat(conditions.regressEvery, () => {
    simulated.lose(Math.ceil(random.magnitude(1, 30)));
    coverage.onLost();
    lostAt = time.now();
    repair();
  });
  await time.run(begunAt + periods * every);

  const { written, merged } = coverage;
  const report = {
    conditions,
    messages: simulated.bounds().last,
    covered: coverage.end,
    writtenPerPeriod: written.segments / periods,
    againPerPeriod: merged.segments / periods,
    bytesAgain: merged.bytes / Math.max(1, written.bytes),
    requestsPerLook: Object.values(requests).reduce((sum, count) => sum + count) / Math.max(1, looks),
    perLook: each(requests, Math.max(1, looks)),
    perReader: each(readRequests, Math.max(1, conditions.readers * periods)),
    looks,
    segments: [...contents.files.keys()].filter((name) => name.endsWith(".segment")).length,
    longest: coverage.longest / every,
    longestReported: longestReported / every,
  };
  const never = await stillMissing();
  if (never.length > 0)
    problems.push(`positions ${never.join(", ")} are not backed up although there are no more faults`);
  for (const reader of readers) problems.push(...reader.problems);
  return { ...report, violations: [...coverage.violations, ...problems] };

  /** Ends all faults, and returns the positions that are not backed up even then. */
  async function stillMissing(): Promise<number[]> {
    [isCalm, isStoreUp] = [true, true];
    for (const { life } of lives.values()) life.thaw();
    const { last } = simulated.bounds();
    let missing: number[] = [];
    const until = time.now() + Math.max(LEASE_MS, every) + CATCH_UP_PERIODS * every;
    while (time.now() < until) {
      await mendNow();
      await time.run(time.now() + every);
      missing = coverage.missing(Math.max(simulated.bounds().first, ...begins()), last);
      if (missing.length === 0 && readers.every(({ position }) => position >= last)) return [];
    }
    for (const { position } of readers)
      if (position < last) problems.push(`a reader is at position ${position} of ${last}`);
    return missing;
  }

  /** Lets an operator act within some periods. */
  function repair(): void {
    time.plan(random.magnitude(every / 10, 5 * every), () => {
      mendNow().catch((error: unknown) => problems.push(`the operator failed: ${String(error)}`));
      return true;
    });
  }

  async function mendNow(): Promise<void> {
    await operator.run(async () => {
      await mend(direct, simulated, Math.max(LEASE_MS, every), (what) => {
        mending = what;
      });
      mending = undefined;
    });
  }
}

/** Returns the transaction that a file in a backup names as its beginning; undefined for any other file. */
function beginOf(name: string): number | undefined {
  return name.endsWith(".begin") ? Number(name.slice(-22, -6)) : undefined;
}

function noRequests(): Record<RequestKind, number> {
  return { list: 0, upload: 0, open: 0, read: 0, create: 0, replace: 0, remove: 0, now: 0 };
}

function each(requests: Requests, count: number): Requests {
  const entries = Object.entries(requests).map(([kind, total]) => [kind, total / count] as const);
  return Object.fromEntries(entries) as Requests;
}
