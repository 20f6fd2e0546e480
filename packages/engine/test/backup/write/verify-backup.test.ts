import type { CheckpointStore } from "@cairn/checkpoint";
import { wrapped } from "@cairn/text";
import { BackupScene } from "@cairn/test-support/nodes/backup-scene";
import { expect, it, onTestFinished } from "vitest";
import { verifySegments } from "../../../src/backup/write/verify-backup.ts";

it("segments that are merged between their listing and their reading are verified as what they were merged into", async () => {
  const scene = await BackupScene.open();
  onTestFinished(() => scene.close());
  const { store, logId, log } = scene;
  const write = async (text: string): Promise<void> => {
    await scene.append(text);
    await scene.look();
  };
  for (let n = 0; n < 63; n += 1) await write(`message ${n}`);
  const before = await store.list(`log-${logId}/`);
  await write("the last one");
  expect((await scene.segments()).length).toBeLessThan(before.length);
  let listings = 0;
  const late = wrapped<CheckpointStore>(store, {
    list: async (prefix) => ((listings += 1) === 1 ? before : await store.list(prefix)),
  });
  const problems: unknown[] = [];
  const { signal } = new AbortController();
  const verified = await verifySegments(
    { store: late, logId, log, checkpoints: [], signal },
    async (problem) => void problems.push(problem),
  );
  expect(problems).toEqual([]);
  expect(verified).toMatchObject({ messages: 65, covered: [{ first: 1, last: 65 }] });
  expect(verified.segments).toBe((await scene.segments()).length);
});
