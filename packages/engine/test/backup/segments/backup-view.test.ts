import type { CheckpointStore } from "@cairn/checkpoint";
import { manualClock, memoryStore } from "@cairn/checkpoint/testing";
import { beforeEach, expect, it } from "vitest";
import { BackupView } from "../../../src/backup/segments/backup-view.ts";
import { pointerFile, segmentFile } from "../../../src/backup/segments/segment-name.ts";

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
