import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PendingAppend } from "../../../src/log/embedded/embedded-storage.ts";
import { AppendSequence } from "../../../src/log/append-sequence.ts";
import { GroupCommit } from "../../../src/log/embedded/embedded-tx-log.ts";
import { MessageIdMemory } from "../../../src/log/embedded/embedded-contents.ts";
import { MESSAGE_ID_WINDOW_MS } from "../../../src/log/tx-log.ts";

/** Returns a store whose groups the test completes. */
function heldStore(gather = async (): Promise<void> => {}) {
  const groups: { sizes: number[]; finish: (error?: Error) => void }[] = [];
  let position = 0;
  const commit = new GroupCommit(async (group: readonly PendingAppend[]) => {
    await new Promise<void>((resolve, reject) => {
      const finish = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      groups.push({ sizes: group.map(({ payload }) => payload.length), finish });
    });
    return group.map(() => {
      position += 1;
      return { position, duplicate: false };
    });
  }, gather);
  return { groups, commit };
}

const payload = (size: number): Uint8Array => new Uint8Array(size);

describe("group commit", () => {
  it("stores simultaneous calls as one group, and calls made in the meantime as the next", async () => {
    const { groups, commit } = heldStore();
    const first = [1, 2, 3].map((size) => commit.append(payload(size), undefined));
    await expect.poll(() => groups.length).toBe(1);
    const second = [4, 5].map((size) => commit.append(payload(size), undefined));
    groups[0]?.finish();
    await expect.poll(() => groups.length).toBe(2);
    groups[1]?.finish();
    const positions = (await Promise.all([...first, ...second])).map(({ position }) => position);
    expect(positions).toEqual([1, 2, 3, 4, 5]);
    expect(groups.map(({ sizes }) => sizes)).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
  });

  it("limits a group by count and by bytes, but always stores at least one message", async () => {
    const { groups, commit } = heldStore();
    const large = 8 * 1024 * 1024;
    const sizes = [large, ...Array.from({ length: 1_500 }, () => 1), 3_000_000, 3_000_000];
    const appended = sizes.map((size) => commit.append(payload(size), undefined));
    for (let n = 0; n < 4; n += 1) {
      await expect.poll(() => groups.length).toBe(n + 1);
      groups[n]?.finish();
    }
    await Promise.all(appended);
    expect(groups.map((group) => group.sizes.length)).toEqual([1, 1_000, 501, 1]);
  });

  describe("beside clients that were just answered", () => {
    beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
    afterEach(() => void vi.useRealTimers());

    it("waits until they have sent their next messages", async () => {
      const { groups, commit } = heldStore();
      const client = async (): Promise<void> => {
        for (let round = 0; round < 4; round += 1) {
          await commit.append(payload(1));
          // The answer and the next request take turns of the event loop.
          await setImmediate();
        }
      };
      const first = client();
      await expect.poll(() => groups.length).toBe(1);
      const clients = { areDone: false };
      const all = Promise.all([first, client(), client(), client()]).then(() => (clients.areDone = true));
      for (let n = 0; !clients.areDone; n += 1) {
        await vi.waitUntil(() => clients.areDone || groups.length > n, { interval: 1 });
        groups[n]?.finish();
      }
      await all;
      expect(groups.map(({ sizes }) => sizes.length)).toEqual([1, 4, 4, 4, 3]);
    });

    it("waits at most 2 ms, and less and less often if they send nothing", async () => {
      const { groups, commit } = heldStore();
      let waits = 0;
      let stored = commit.append(payload(1));
      for (let n = 0; n < 100; n += 1) {
        await expect.poll(() => groups.length, { interval: 1 }).toBe(n + 1);
        const next = commit.append(payload(1));
        groups[n]?.finish();
        await stored;
        stored = next;
        await setImmediate();
        if (groups.length > n + 1) continue;
        waits += 1;
        vi.advanceTimersByTime(2);
      }
      await expect.poll(() => groups.length).toBe(101);
      groups[100]?.finish();
      await stored;
      // Of 100 groups, those after 0, 0, 1, 3, 7, 15 and 31 that did not wait.
      expect(waits).toBe(7);
    });
  });

  it("rejects the whole group that failed, and stores the next", async () => {
    const { groups, commit } = heldStore();
    const failing = Promise.allSettled([1, 2].map((size) => commit.append(payload(size), undefined)));
    await expect.poll(() => groups.length).toBe(1);
    const next = commit.append(payload(3), undefined);
    groups[0]?.finish(new Error("disk"));
    expect((await failing).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect.poll(() => groups.length).toBe(2);
    groups[1]?.finish();
    expect(await next).toEqual({ position: 1, duplicate: false });
  });

  it("rejects what follows a rejected message in a sequence, and stores what precedes it", async () => {
    const { groups, commit } = heldStore();
    const sequence = new AppendSequence();
    const [before, failed, behind] = [sequence.take(), sequence.take(), sequence.take()];
    const failing = commit.append(payload(1), { place: failed });
    await expect.poll(() => groups.length).toBe(1);
    const others = [
      commit.append(payload(2), { place: behind }),
      commit.append(payload(3), { place: before }),
      commit.append(payload(4)),
    ];
    groups[0]?.finish(new Error("disk"));
    await expect(failing).rejects.toThrow("disk");
    await expect.poll(() => groups.length).toBe(2);
    groups[1]?.finish();
    await expect(others[0]).rejects.toThrow("disk");
    await Promise.all(others.slice(1));
    expect(groups[1]?.sizes).toEqual([3, 4]);
  });

  it("is idle only when no message waits", async () => {
    const { groups, commit } = heldStore();
    await commit.idle();
    const appended = commit.append(payload(1), undefined);
    let idle = false;
    const waiting = (async () => {
      await commit.idle();
      idle = true;
    })();
    await expect.poll(() => groups.length).toBe(1);
    expect(idle).toBe(false);
    groups[0]?.finish();
    await Promise.all([appended, waiting]);
  });
});

describe("the memory of message ids", () => {
  it("keeps an id for at least one window and at most two", () => {
    const memory = new MessageIdMemory();
    memory.add("old", 1, 0);
    memory.add("almost", 2, MESSAGE_ID_WINDOW_MS - 1);
    memory.add("next", 3, MESSAGE_ID_WINDOW_MS);
    expect(["old", "almost", "next"].map((id) => memory.get(id))).toEqual([1, 2, 3]);
    memory.add("later", 4, 2 * MESSAGE_ID_WINDOW_MS);
    expect(["old", "almost", "next", "later"].map((id) => memory.get(id))).toEqual([
      undefined,
      undefined,
      3,
      4,
    ]);
  });

  it("forgets all ids after a pause of two windows", () => {
    const memory = new MessageIdMemory();
    memory.add("old", 1, 0);
    memory.add("new", 2, 2 * MESSAGE_ID_WINDOW_MS);
    expect(memory.get("old")).toBeUndefined();
    expect(memory.get("new")).toBe(2);
  });

  it("survives a clock that is set back", () => {
    const memory = new MessageIdMemory();
    memory.add("before", 1, 10 * MESSAGE_ID_WINDOW_MS);
    memory.add("after", 2, 0);
    expect(memory.get("before")).toBe(1);
    memory.add("later", 3, 3 * MESSAGE_ID_WINDOW_MS);
    expect(memory.get("before")).toBeUndefined();
  });
});
