import {
  beginLife,
  type Network,
  type NodeLife,
  type RequestKind,
  seededRandom,
  simulatedStore,
  type StoreContents,
  transportOf,
  virtualTime,
} from "@cairn/checkpoint/testing";
import { isCairnError } from "@cairn/kv";
import { LogBackup } from "../../../src/backup/write/log-backup.ts";
import { listBackup } from "../../../src/backup/segments/segment-name.ts";
import { readSegment } from "../../../src/backup/segments/read-segment.ts";
import { anchorOf } from "../../../src/log/anchor.ts";
import type { Conditions } from "./conditions.ts";
import { Coverage } from "./coverage.ts";
import { simulatedLog } from "./simulated-log.ts";

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
  readonly looks: number;
  readonly segments: number;
  /** The longest time until a message was in a segment, in periods. */
  readonly longest: number;
}

/** The errors that faults explain. */
const EXPECTED = ["STORE_UNREACHABLE", "LOG_TRIMMED"] as const;

/**
 * Runs nodes with a log backup in virtual time, from their first start. The same conditions produce the same report.
 */
export async function simulateBackup(conditions: Conditions): Promise<BackupReport> {
  const { every, periods, storm, exclusive, messageBytes } = conditions;
  const random = seededRandom(conditions.seed);
  const time = virtualTime();
  const begunAt = time.now();
  const { log, all, append, trim } = simulatedLog(time, messageBytes);
  append();
  const coverage = new Coverage(time, (position) => all[position - 1]?.time ?? 0);
  const problems: string[] = [];
  let isStoreUp = true;
  let requests = 0;
  let looks = 0;
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
    failing: storm.failing,
    timeout: Math.min(5_000, every / 10),
    upload: conditions.upload,
    pieces: 1,
    onStep(life, kind: RequestKind, when) {
      if (when === "before") requests += 1;
      if (kind === "list" || life.isDead() || !random.chance(storm.atStep)) return;
      if (when === "before" || random.chance(0.4)) kill(life);
      else freeze(life);
    },
  };
  const lives = new Map<number, { life: NodeLife; backup: LogBackup }>();

  const start = (node: number): void => {
    const life = beginLife(`node-${node}`, time, random.between(-every / 2, every / 2));
    const backup = new LogBackup({
      store: simulatedStore(contents, transportOf(life, network), {
        written: (name, file) => coverage.onWritten(name, file),
        removed: (name) => coverage.onRemoved(name),
      }),
      log,
      of: { id: "simulated", name: log.name, offset: 0 },
      node: life.node,
      options: { every, keep: "all", codec: "none" },
      onLook: () => {
        looks += 1;
      },
      onError: (error) => {
        looks += 1;
        if (!EXPECTED.some((code) => isCairnError(error, code))) problems.push(String(error));
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
      happen();
      repeat(mean, happen);
      return true;
    });
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
  repeat(1 / conditions.messagesPerPeriod, () => {
    append();
    for (const { life, backup } of lives.values()) if (!life.isFrozen()) backup.applied(messageBytes);
  });
  if (conditions.trims) repeat(5, () => trim(coverage.end));
  await time.run(begunAt + periods * every);

  const violations = [...coverage.violations, ...problems, ...(await differences())];
  const { written, merged } = coverage;
  return {
    conditions,
    violations,
    messages: all.length,
    covered: coverage.end,
    writtenPerPeriod: written.segments / periods,
    againPerPeriod: merged.segments / periods,
    bytesAgain: merged.bytes / Math.max(1, written.bytes),
    requestsPerLook: requests / Math.max(1, looks),
    looks,
    segments: [...contents.files.keys()].filter((name) => name.endsWith(".segment")).length,
    longest: coverage.longest / every,
  };

  /** Reads everything that the store lists, and compares it with the appended messages. */
  async function differences(): Promise<string[]> {
    const found: string[] = [];
    const direct = simulatedStore(contents, {
      request: async (_kind, work) => work(),
      transfer: async () => undefined,
    });
    for (const file of (await listBackup(direct, "simulated")).segments) {
      const segment = await readSegment(direct, file);
      for (const message of segment?.messages ?? []) {
        const appended = all[message.position - 1];
        if (appended === undefined || anchorOf(message).sha256 !== anchorOf(appended).sha256)
          found.push(`message ${message.position} of ${file.name} is not that of the log`);
      }
    }
    return found;
  }
}
