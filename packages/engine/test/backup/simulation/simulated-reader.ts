import {
  beginLife,
  type Network,
  simulatedStore,
  type StoreContents,
  transportOf,
} from "@cairn/checkpoint/testing";
import { CairnError } from "@cairn/kv";
import { BackupReader } from "../../../src/backup/backup-reader.ts";
import type { SimulatedLog } from "./simulated-log.ts";

/** How often a node that follows a log compares the last message that it has read, while there are no new ones (ms). */
const IDLE_CHECK_MS = 10_000;

/** A node that follows the backup. */
export interface SimulatedReader {
  /** The last message that it has read. */
  readonly position: number;
  /** The messages that it read and that the log never held, and the errors that no fault explains. */
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
  let readAt = time.now();
  const follow = async (): Promise<void> => {
    for await (const messages of reader.read(found.position + 1, { signal })) {
      for (const message of messages) {
        const { position } = message;
        if (position !== found.position + 1 || !log.wasEver(message))
          found.problems.push(`${node} read a wrong message at position ${position} after ${found.position}`);
        found.position = position;
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
