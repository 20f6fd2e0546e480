import {
  beginLife,
  type Network,
  simulatedStore,
  type StoreContents,
  transportOf,
} from "@cairn/checkpoint/testing";
import { CairnError } from "@cairn/kv";
import { BackupReader } from "../../../src/backup/backup-reader.ts";
import { anchorOf } from "../../../src/log/anchor.ts";
import type { Appended, SimulatedLog } from "./simulated-log.ts";

/** How often a node that follows a log compares the last message that it has read, while there are no new ones (ms). */
const IDLE_CHECK_MS = 10_000;

/** A node that follows the backup. */
export interface SimulatedReader {
  /** The last message that it has read. */
  readonly position: number;
  /** The messages that it read and that never followed the ones before, and the errors that no fault explains. */
  readonly problems: readonly string[];
}

export interface ReaderOptions {
  readonly node: string;
  readonly contents: StoreContents;
  readonly network: Network;
  readonly log: SimulatedLog;
  readonly every: number;
}

/** Starts a reader. After each error and each interruption, it reads on; if it was told that the log differs, from the beginning. */
export function startReader({ node, contents, network, log, every }: ReaderOptions): SimulatedReader {
  const { time } = network;
  const life = beginLife(node, time, 0);
  const store = simulatedStore(contents, transportOf(life, network));
  const reader = new BackupReader({ store, every, clock: life.clock });
  const { signal } = new AbortController();
  const found = { position: 0, problems: [] as string[] };
  let last: Appended | undefined;
  let readAt = time.now();
  /** Reads on like `followLog`: each reading begins at the last known message, with which it is compared. */
  const follow = async (): Promise<void> => {
    let isKnown = found.position > 0;
    for await (const messages of reader.read(Math.max(1, found.position), { signal })) {
      for (const message of messages) {
        const { position } = message;
        const appended = log.find(position, anchorOf(message).sha256);
        if (isKnown && position === found.position) {
          isKnown = false;
          if (appended === last) continue;
          found.position = 0;
          return;
        }
        const isNext = position === found.position + 1;
        if (appended === undefined || (isNext && position > 1 && appended.before !== last))
          found.problems.push(`${node} read a wrong message at position ${position}`);
        // A hole is left to the one who reads, who waits until it is filled. What was removed is in a checkpoint.
        if (!isNext && position !== (await reader.bounds()).first) return;
        isKnown = false;
        found.position = position;
        last = appended;
      }
      readAt = time.now();
    }
  };
  const run = async (): Promise<void> => {
    for (;;) {
      try {
        if (await reader.exists()) await follow();
      } catch (error) {
        if (!(error instanceof CairnError)) throw error;
        if (error.code === "LOG_REGRESSED" || error.code === "LOG_DIFFERENT") found.position = 0;
        else if (error.code !== "LOG_UNREACHABLE" && error.code !== "SEGMENT_CORRUPT")
          found.problems.push(`${node}: ${String(error)}`);
      }
      await life.clock.wait(every);
    }
  };
  const compare = async (): Promise<void> => {
    for (;;) {
      await life.clock.wait(IDLE_CHECK_MS);
      if (found.position === 0 || time.now() - readAt < IDLE_CHECK_MS) continue;
      await reader.fetch(found.position).catch(() => undefined);
    }
  };
  const failed = (error: unknown): void => void found.problems.push(`${node}: ${String(error)}`);
  run().catch(failed);
  compare().catch(failed);
  return found;
}
