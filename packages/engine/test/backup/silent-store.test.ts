import { faultyStore } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { logWithBackup } from "../../src/backup/log-with-backup.ts";
import { anchorOf } from "../../src/log/anchor.ts";
import { followLog } from "../../src/log/follow-log.ts";
import { BackupScene } from "@cairn/test-support/nodes/backup-scene";

let scene: BackupScene;
beforeEach(async () => {
  scene = await BackupScene.open();
  await scene.append("two", "three", "four");
  await scene.look();
  await scene.log.trim?.(3);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await scene.close();
});

it("a follower that has everything of a trimmed log continues although the store of the backup is silent", async () => {
  let requests = 0;
  const silent = faultyStore(scene.store, {
    before: () => {
      requests += 1;
      return new Promise(() => undefined);
    },
  });
  const fetched = await scene.log.fetch(4);
  if (fetched === undefined) throw new Error("The log has no message 4.");
  const bounds = vi.spyOn(scene.log, "bounds");
  const stop = new AbortController();
  const history = logWithBackup(scene.log, [silent]);
  const options = { anchor: anchorOf(fetched), signal: stop.signal, idleCheckMs: 10 };
  const next = followLog(history, options).next();
  const asked = bounds.mock.calls.length;
  await vi.waitFor(() => expect(bounds.mock.calls.length).toBeGreaterThan(asked + 3));
  await scene.append("five");
  expect((await next).value).toMatchObject([{ position: 5 }]);
  expect(requests).toBe(0);
  stop.abort();
});

it("a search for a backup is not repeated at once because it took long", async () => {
  let lists = 0;
  let aheadMs = 0;
  const now = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => now() + aheadMs);
  const slow = faultyStore(scene.store, {
    before: ({ method }) => {
      if (method === "list") lists += 1;
      aheadMs += 120_000;
      return Promise.resolve();
    },
  });
  const history = logWithBackup(scene.log, [slow]);
  expect(await history.bounds()).toEqual({ first: 1, last: 4 });
  const searched = lists;
  expect(await history.bounds()).toEqual({ first: 1, last: 4 });
  expect(lists).toBe(searched);
});
