import type { CheckpointStore } from "@cairn/checkpoint";
import { manualClock, memoryStore } from "@cairn/checkpoint/testing";
import { beforeEach, expect, it } from "vitest";
import { BackupView } from "../../../src/backup/segments/backup-view.ts";
import {
  beginFile,
  beginOfBackup,
  listBackup,
  pointerFile,
  segmentFile,
} from "../../../src/backup/segments/segment-name.ts";

/** As many segments as a pointer names, and a few more. */
const MANY = 40;

let store: CheckpointStore;
let views: { one: BackupView; other: BackupView };
beforeEach(() => {
  store = memoryStore();
  const view = (): BackupView => new BackupView({ store, logId: "a", every: 60_000, clock: manualClock(0) });
  views = { one: view(), other: view() };
});

const write = async (txId: number, end = "00000000"): Promise<string> => {
  const name = segmentFile({ logId: "a", first: txId, last: txId, end });
  await store.create(name, "a segment");
  return name;
};

/** Lists the backup and points to its end, as a node does that writes. */
const list = async (view: BackupView): Promise<void> => {
  await view.look(true);
  const listing = await view.list();
  await view.point(listing, listing.segments);
};

const seenBy = async (view: BackupView): Promise<string[]> => {
  const { listing, isHint } = await view.look();
  expect(isHint).toBe(true);
  return listing.segments.map(({ name }) => name);
};

it.each([3, MANY])(
  "a segment that was removed, among %i, is not known after the pointer was written again",
  async (count) => {
    const written: string[] = [];
    for (let txId = 1; txId <= count; txId += 1) written.push(await write(txId));
    const stray = await write(count, "ffffffff");
    await list(views.one);
    await list(views.other);
    expect(await seenBy(views.one)).toContain(stray);

    await store.remove(stray);
    await store.remove(pointerFile("a"));
    await list(views.other);
    expect(await seenBy(views.one)).toEqual(written);
  },
);

it("a removal that was recorded is no hole, whatever the pointer shows", async () => {
  const written: string[] = [];
  for (let txId = 1; txId <= 3; txId += 1) written.push(await write(txId));
  await list(views.one);
  await list(views.other);

  await store.create(beginFile("a", 3), "{}");
  for (const name of written.slice(0, 2)) await store.remove(name);
  await list(views.other);
  const { listing } = await views.one.look();
  expect(listing.segments.map(({ first }) => first)).toEqual([3]);
  expect(beginOfBackup(listing, 0, 3)).toBe(3);
});

it("a listing during which segments were removed, but not recorded yet when it began, is made again", async () => {
  const [removed = ""] = [await write(1), await write(2), await write(3)];
  const removing: CheckpointStore = {
    ...store,
    async list(prefix) {
      const listed = await store.list(prefix);
      if (!(await store.create(beginFile("a", 2), "{}"))) return listed;
      await store.remove(removed);
      return listed.filter(({ name }) => name !== removed);
    },
  };
  const { segments, begins } = await listBackup(removing, "a");
  expect([segments.map((segment) => segment.first), begins.map(({ txId }) => txId)]).toEqual([[2, 3], [2]]);
});
