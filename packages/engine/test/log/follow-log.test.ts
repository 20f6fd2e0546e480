import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { anchorOf } from "../../src/log/anchor.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { type FollowLogOptions, followLog, type LogState } from "../../src/log/follow-log.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { FaultyTxLog } from "../../testing/faulty-tx-log.ts";
import { bytes } from "../../testing/log-messages.ts";

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, n) => from + n);

/** A wait that never elapses. */
const untilAborted: Clock["wait"] = async (_ms, signal) => {
  await new Promise((resolve) => {
    signal?.addEventListener("abort", resolve);
  });
  return false;
};

describe("a follower of a log", () => {
  let folder: string;
  let log: FaultyTxLog;
  let stop: AbortController;
  let positions: number[];
  let states: LogState[];

  const onState = (state: LogState): void => {
    states.push(state);
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-follow-"));
    log = new FaultyTxLog(await openEmbeddedTxLog({ path: join(folder, "log") }));
    await log.create(() => bytes("birth"));
    stop = new AbortController();
    positions = [];
    states = [];
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    stop.abort();
    await log.close();
    await rm(folder, { recursive: true });
  });

  const append = async (from: number, to: number): Promise<void> => {
    for (let n = from; n <= to; n += 1) await log.append(bytes(`message ${n}`));
  };

  /** Follows until `last` has been seen, or until the sequence throws. */
  const follow = async (last: number, options: Partial<FollowLogOptions> = {}): Promise<number[]> => {
    const following = followLog(log, { signal: stop.signal, maxBackoffMs: 20, onState, ...options });
    for await (const messages of following) {
      positions.push(...messages.map(({ position }) => position));
      if (messages.at(-1)?.position === last) break;
    }
    return positions;
  };

  const messageAt = async (position: number): Promise<LogMessage> => {
    const message = await log.fetch(position);
    if (message === undefined) throw new Error(`There is no message ${position}.`);
    return message;
  };

  it("yields everything starting with the birth record, and then the messages that are appended later", async () => {
    await append(2, 5);
    const following = follow(8);
    await append(6, 8);
    expect(await following).toEqual(range(1, 8));
  });

  it("yields only the messages after the anchor", async () => {
    await append(2, 10);
    expect(await follow(10, { anchor: anchorOf(await messageAt(6)) })).toEqual(range(7, 10));
  });

  it("yields nothing, and waits, when the anchor is the last message", async () => {
    await append(2, 3);
    const following = follow(4, { anchor: anchorOf(await messageAt(3)) });
    await append(4, 4);
    expect(await following).toEqual([4]);
  });

  it("skips and repeats nothing if every reading ends after one array", async () => {
    await append(2, 60);
    log.faults.arraysPerReading = 1;
    expect(await follow(60, { maxMessages: 7 })).toEqual(range(1, 60));
    expect(log.readings).toBeGreaterThan(8);
  });

  it("survives an unreachable log, and reports when the log becomes unreachable and reachable again", async () => {
    await append(2, 3);
    log.faults.unreachable = true;
    const following = follow(99);
    await vi.waitFor(() => expect(states).toHaveLength(1));
    expect(states[0]).toMatchObject({ reachable: false, error: { code: "LOG_UNREACHABLE" } });
    log.faults.unreachable = false;
    await vi.waitFor(() => expect(positions).toEqual([1, 2, 3]));
    expect(states).toEqual([states[0], { reachable: true }]);
    stop.abort();
    await following;
  });

  it("reports an interruption until the log has been compared, and a different log as neither read nor reachable", async () => {
    await append(2, 3);
    log.faults.arraysPerReading = 1;
    const readings: string[] = [];
    const following = follow(99, {
      onReading: () => readings.push("reading"),
      onInterrupted: () => {
        readings.push("interrupted");
        log.faults.unreachable = true;
      },
    });
    await vi.waitFor(() => expect(states).toHaveLength(2));
    log.faults.replace = (message) => ({ ...message, payload: bytes("other") });
    log.faults.unreachable = false;
    await expect(following).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    expect(new Set(readings.slice(1))).toEqual(new Set(["interrupted"]));
    expect(states.map(({ reachable }) => reachable)).toEqual([true, false]);
  });

  it("reads again as soon as the connection is restored, without waiting for its backoff", async () => {
    await append(2, 3);
    log.faults.unreachable = true;
    const endless = vi.spyOn(systemClock, "wait").mockImplementation(untilAborted);
    const following = follow(3);
    await vi.waitFor(() => expect(endless).toHaveBeenCalled());
    log.restore();
    expect(await following).toEqual([1, 2, 3]);
  });

  it("ends without an error when it is aborted, even while the log cannot be reached", async () => {
    log.faults.unreachable = true;
    const following = follow(99, { maxBackoffMs: 60_000 });
    await vi.waitFor(() => expect(states).toHaveLength(1));
    stop.abort();
    expect(await following).toEqual([]);
  });

  it("refuses an anchor beyond the end", async () => {
    const anchor = { position: 4, sha256: "00" };
    await expect(follow(9, { anchor })).rejects.toMatchObject({ code: "LOG_REGRESSED" });
  });

  it("refuses a log that holds a different message at the anchor", async () => {
    await append(2, 9);
    const anchor = { ...anchorOf(await messageAt(4)), position: 5 };
    await expect(follow(9, { anchor })).rejects.toMatchObject({ code: "LOG_REGRESSED" });
  });

  it("refuses a different message at the anchor even when it changes after the first check", async () => {
    await append(2, 9);
    const anchor = anchorOf(await messageAt(5));
    let fetches = 0;
    log.faults.replace = (message) => {
      fetches += 1;
      return fetches > 1 && message.position === 5 ? { ...message, payload: bytes("new history") } : message;
    };
    await expect(follow(9, { anchor })).rejects.toMatchObject({ code: "LOG_REGRESSED" });
  });

  it("yields nothing of a different history that begins while a reading is interrupted", async () => {
    await append(2, 6);
    log.faults.arraysPerReading = 1;
    const seen: LogMessage[] = [];
    const following = (async () => {
      for await (const messages of followLog(log, {
        signal: stop.signal,
        maxMessages: 3,
        maxBackoffMs: 20,
      })) {
        seen.push(...messages);
        log.faults.replace = (message) => ({ ...message, payload: bytes(`new ${message.position}`) });
      }
    })();
    await expect(following).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    expect(seen.map(({ position }) => position)).toEqual([1, 2, 3]);
  });

  it("detects during silence that the log lost its end", async () => {
    await append(2, 3);
    const following = follow(99, { idleCheckMs: 10 });
    const loss = vi.waitFor(() => {
      expect(positions).toEqual([1, 2, 3]);
      log.faults.replace = () => undefined;
      log.faults.bounds = { first: 1, last: 1 };
    });
    await expect(following).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    await loss;
  });

  it("reads again when messages exist but do not arrive", async () => {
    await append(2, 3);
    log.faults.stalled = true;
    const following = follow(3, { idleCheckMs: 10 });
    await vi.waitFor(() => expect(log.readings).toBeGreaterThan(1));
    log.faults.stalled = false;
    expect(await following).toEqual([1, 2, 3]);
  });

  it("does not mistake an error of the idle check for a loss", async () => {
    await append(2, 3);
    const following = follow(4, { idleCheckMs: 10 });
    await vi.waitFor(() => expect(positions).toEqual([1, 2, 3]));
    log.faults.unreachable = true;
    await vi.waitFor(() => expect(states).toHaveLength(2));
    log.faults.unreachable = false;
    await vi.waitFor(() => expect(states).toHaveLength(3));
    await append(4, 4);
    expect(await following).toEqual([1, 2, 3, 4]);
    expect(states.map(({ reachable }) => reachable)).toEqual([true, false, true]);
  });

  it("names the missing range when the log was trimmed beyond the anchor", async () => {
    await append(2, 9);
    const anchor = anchorOf(await messageAt(3));
    log.faults.replace = (message) => (message.position < 6 ? undefined : message);
    log.faults.bounds = { first: 6, last: 9 };
    await expect(follow(9, { anchor })).rejects.toMatchObject({
      code: "LOG_TRIMMED",
      message: /messages 4 to 5/,
    });
    await expect(follow(9)).rejects.toMatchObject({ code: "LOG_TRIMMED", message: /messages 1 to 5/ });
  });

  it("accepts a log that was trimmed up to the anchor itself", async () => {
    await append(2, 9);
    const anchor = anchorOf(await messageAt(6));
    log.faults.replace = (message) => (message.position < 6 ? undefined : message);
    log.faults.bounds = { first: 6, last: 9 };
    expect(await follow(9, { anchor })).toEqual([7, 8, 9]);
  });

  it("stops at a hole, after yielding everything before it, and reports its range", async () => {
    await append(2, 9);
    log.faults.replace = (message) =>
      message.position === 5 || message.position === 6 ? undefined : message;
    await expect(follow(9)).rejects.toMatchObject({
      code: "LOG_GAP",
      message: /messages 5 to 6 are missing, although it ends at message 9\.$/,
    });
  });

  it("names no later messages if the last ones are missing", async () => {
    await append(2, 9);
    log.faults.replace = (message) => (message.position > 6 ? undefined : message);
    await expect(follow(9, { idleCheckMs: 50 })).rejects.toMatchObject({
      code: "LOG_GAP",
      message: /messages 7 to 9 are missing, although it ends at message 9\.$/,
    });
  });

  it("reads again if messages that the log has were left out, and reports it until it has read them", async () => {
    await append(2, 9);
    log.faults.leavesOut = (position) => position > 4 && position < 7 && log.readings === 1;
    expect(await follow(9)).toEqual(range(1, 9));
    expect(log.readings).toBe(2);
    const error = {
      code: "LOG_UNREACHABLE",
      message: /^The log "[^"]*" left out message 5 when it was read/,
    };
    expect(states).toMatchObject([{ reachable: true }, { reachable: false, error }, { reachable: true }]);
  });

  it("continues if only the anchor's message was left out, which the log has", async () => {
    await append(2, 9);
    const anchor = anchorOf(await messageAt(6));
    log.faults.leavesOut = (position) => position === 6 && log.readings === 1;
    expect(await follow(9, { anchor })).toEqual([7, 8, 9]);
    expect(log.readings).toBe(1);
  });

  it("reports that a reading began with the anchor's own message, or without an anchor, and not if the log lacks it", async () => {
    await append(2, 9);
    const anchor = anchorOf(await messageAt(6));
    const anchored: number[] = [];
    const onAnchored = (): void => void anchored.push(positions.length);
    await follow(9, { anchor, onAnchored });
    await follow(9, { onAnchored });
    expect(anchored).toEqual([0, 3]);
    log.faults.replace = (message) => (message.position < 7 ? undefined : message);
    log.faults.bounds = { first: 7, last: 9 };
    await follow(9, { anchor, onAnchored });
    expect(anchored).toEqual([0, 3]);
  });

  it("begins at `from` when there is no anchor", async () => {
    await append(2, 5);
    expect(await follow(5, { from: 4 })).toEqual([4, 5]);
  });

  it("ends after `upTo`, in the middle of an array, and does not read again", async () => {
    await append(2, 9);
    expect(await follow(99, { upTo: 6 })).toEqual(range(1, 6));
    expect(log.readings).toBe(1);
    expect(await follow(99, { anchor: anchorOf(await messageAt(6)), upTo: 6 })).toEqual(range(1, 6));
    expect(log.readings).toBe(1);
  });

  it("reports a hole that includes `upTo` with its range, after yielding everything before it", async () => {
    await append(2, 12);
    log.faults.replace = (message) => (message.position > 5 && message.position < 9 ? undefined : message);
    const following = follow(99, { upTo: 7 });
    await expect(following).rejects.toMatchObject({ code: "LOG_GAP", message: /messages 6 to 8/ });
    expect(positions).toEqual(range(1, 5));
  });

  it("waits for nothing if the log ends before `upTo`", async () => {
    await append(2, 5);
    await expect(follow(99, { upTo: 8 })).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    expect(positions).toEqual([]);
  });

  it("detects during silence that the log will not reach `upTo`", async () => {
    await append(2, 3);
    log.faults.bounds = { first: 1, last: 8 };
    const following = follow(99, { upTo: 8, idleCheckMs: 500 });
    const loss = vi.waitFor(() => {
      expect(positions).toEqual([1, 2, 3]);
      log.faults.bounds = undefined;
    });
    await expect(following).rejects.toMatchObject({
      code: "LOG_REGRESSED",
      message: /ends at message 3, but message 8/,
    });
    await loss;
  });
});
