import { Readable } from "node:stream";
import { rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { type CairnError } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readSegment } from "../../src/backup/segments/read-segment.ts";
import { listBackup } from "../../src/backup/segments/segment-name.ts";
import { anchorOf } from "../../src/log/anchor.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { planLost } from "../../src/backup/write/prune-backup.ts";
import { payloadChecksum } from "../../src/transactions/message-frame.ts";
import { FaultyTxLog } from "../../testing/faulty-tx-log.ts";
import { takeMessages, text } from "../../testing/log-messages.ts";
import { BackupScene } from "@cairn/test-support/nodes/backup-scene";

function at(of: readonly LogMessage[], position: number): LogMessage {
  const message = of[position - 1];
  if (message === undefined) throw new Error(`no message ${position}`);
  return message;
}

/** Returns a copy of a message with another payload, whose anchor sorts before or after that of the message. */
function lostVariant(message: LogMessage, place: "first" | "last"): LogMessage {
  const { sha256 } = anchorOf(message);
  for (let n = 0; ; n += 1) {
    const variant = { ...message, payload: Buffer.from(`lost ${n}`) };
    if (anchorOf(variant).sha256 < sha256 === (place === "first")) return variant;
  }
}

describe("a backup that contains a suspended writer's messages, which the log has lost", () => {
  let scene: BackupScene;
  let messages: LogMessage[];
  beforeEach(async () => {
    scene = await BackupScene.open();
    await scene.append(...Array.from({ length: 19 }, (_, n) => `message ${n + 2}`));
    messages = await takeMessages(scene.log, 1, 20);
  });
  afterEach(() => scene.close());

  const other = (from: number): LogMessage[] =>
    messages.map((one) =>
      one.position < from ? one : { ...one, payload: Buffer.from(`lost ${one.position}`) },
    );
  const upload = async (of: readonly LogMessage[], first: number, last: number): Promise<string> => {
    const before = first === 1 ? undefined : anchorOf(at(of, first - 1)).sha256;
    const { file, content } = await scene.encode(of.slice(first - 1, last), before);
    await scene.store.upload(file, Readable.from([content]));
    return file;
  };
  const readAll = async (count: number): Promise<(string | undefined)[]> => {
    const backup = scene.backup();
    try {
      return (await takeMessages(backup, 1, count)).map(text);
    } finally {
      await backup.close();
    }
  };

  it.each([
    ["within the run that overlaps it", 4, 12, 8],
    ["directly before the run that follows it", 4, 7, 5],
  ])("is not read as one history: %s", async (_where, first, last, lostFrom) => {
    await upload(messages, 1, first - 1);
    await upload(other(lostFrom), first, last);
    await upload(messages, 8, 20);
    const read: (string | undefined)[] = [];
    const backup = scene.backup();
    const reading = (async () => {
      for await (const array of backup.read(1, { signal: new AbortController().signal })) {
        read.push(...array.map(text));
        if (read.length >= 20) break;
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    expect(read.filter((one) => one?.startsWith("lost"))).toEqual([]);
    await backup.close();
  });

  it("continues once a segment that ends where an intact one ends has been moved out of the folder, as the hint says", async () => {
    await upload(messages, 1, 20);
    const stray = await upload(other(8), 6, 20);
    await scene.append("message 21");
    const refused = await scene.look().catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "LOG_REGRESSED",
      message: expect.stringContaining(stray) as string,
      hint: expect.stringMatching(
        /^Move this file out of the folder, with newest.json, and keep it, .* agrees with the log/,
      ) as string,
    });
    // Pruning what the log lost would not help here, because it would remove nothing.
    expect((await planLost(scene.target())).segments).toEqual([]);
    await rename(scene.pathOf(stray), path.join(scene.folder, "moved.segment"));
    expect((await scene.look()).written).toHaveLength(1);
    expect(await readAll(21)).toEqual((await takeMessages(scene.log, 1, 21)).map(text));
  });

  it("does not replace messages that the log lost with a longer segment of the other history", async () => {
    const lost = await upload(other(8), 6, 12);
    await upload(messages, 1, 20);
    const { removed, covered } = await scene.look();
    expect(removed).toEqual([]);
    expect(covered).toEqual([{ first: 1, last: 20 }]);
    expect((await scene.segments()).map(({ name }) => name)).toContain(lost);
    expect([...scene.memory.damaged.values()].map(({ code }) => code)).toEqual(["LOG_REGRESSED"]);
    await expect(readAll(20)).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    // The contradiction is remembered, so a look does not read the segments again.
    expect((await scene.look()).skipped).toBeUndefined();
  });

  it("is not read, whichever of the two histories reaches further", async () => {
    await upload(messages, 1, 12);
    const stray = await upload(other(8), 6, 20);
    await expect(readAll(12)).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    // A damaged segment contradicts nothing.
    await writeFile(scene.pathOf(stray), "damaged");
    expect(await readAll(12)).toEqual(messages.slice(0, 12).map(text));
  });

  it.each(["first", "last"] as const)(
    "is not merged into one history if it is listed %s",
    { tags: "rest/slow" },
    async (place) => {
      for (let position = 1; position <= 20; position += 1) await upload(messages, position, position);
      // Of two segments with the same positions, the one whose anchor sorts first is listed first.
      await upload([...messages.slice(0, 4), lostVariant(at(messages, 5), place)], 5, 5);
      await scene.append(...Array.from({ length: 60 }, (_, n) => `message ${n + 21}`));
      for (let position = 21; position <= 80; position += 1) {
        messages = await takeMessages(scene.log, 1, 80);
        await upload(messages, position, position);
      }
      const { merged } = await scene.look();
      expect(merged).not.toEqual([]);
      const holding: string[] = [];
      for (const segment of await scene.segments()) {
        const read = await readSegment(scene.store, segment);
        const fifth = text(read?.messages.get(5));
        if (fifth === undefined) continue;
        holding.push(fifth);
        // No segment that continues with the sixth message of the log holds the lost fifth one.
        if (read?.messages.get(6) !== undefined) expect(fifth).toBe("message 5");
      }
      expect(holding.some((one) => one.startsWith("lost"))).toBe(true);
      expect(holding).toContain("message 5");
    },
  );

  it("is not continued while the log holds a different message, or none, at the backup's end", async () => {
    await upload(other(20), 1, 20);
    await expect(scene.look()).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    const [only] = await scene.segments();
    await rm(scene.pathOf(only?.name ?? ""));
    await upload(messages, 1, 20);
    const shorter = new FaultyTxLog(scene.log);
    shorter.faults.bounds = { first: 1, last: 19 };
    await expect(scene.look({ log: shorter })).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    // If two histories end at the same position, one of them is not the log's history.
    await upload(other(20), 1, 20);
    await expect(scene.look()).rejects.toMatchObject({ code: "LOG_REGRESSED" });
  });

  it.each([
    { first: 11, place: "directly after" },
    { first: 16, place: "some messages after" },
  ])(
    "is continued by a log that begins $place its end only if an index shows that they belong together",
    async ({ first }) => {
      await upload(messages, 1, 10);
      await scene.log.trim?.(first);
      const end = payloadChecksum(at(messages, 10).payload);
      const hint = expect.stringContaining(`Move the folder log-${scene.logId}/ out of the store`) as string;
      await expect(scene.look()).rejects.toMatchObject({ code: "LOG_TRIMMED", hint });
      // Such an index no longer remembers the transaction.
      await expect(scene.look({ checksumAt: () => undefined })).rejects.toMatchObject({
        code: "LOG_TRIMMED",
      });
      await expect(scene.look({ checksumAt: () => end + 1 })).rejects.toMatchObject({
        code: "LOG_REGRESSED",
        hint,
      });
      expect(await scene.segments()).toHaveLength(1);
      const { written } = await scene.look({ checksumAt: (txId) => (txId === 10 ? end : undefined) });
      expect(written).toMatchObject([{ first, last: 20 }]);
      const [, later] = await scene.segments();
      const content = later === undefined ? undefined : await readSegment(scene.store, later);
      const before = first === 11 ? anchorOf(at(messages, 10)).sha256 : null;
      expect(content?.header.before).toBe(before);
      expect((await scene.look()).skipped).toBeUndefined();
    },
  );

  it("is not continued if only one of two segments with its trimmed last transaction agrees with the index", async () => {
    await upload(messages, 1, 10);
    const stray = await upload(other(8), 1, 10);
    await scene.log.trim?.(11);
    const end = payloadChecksum(at(messages, 10).payload);
    const refused = (await scene
      .look({ checksumAt: () => end })
      .catch((error: unknown) => error)) as CairnError;
    expect(refused).toMatchObject({
      code: "LOG_REGRESSED",
      message: expect.stringContaining(stray) as string,
    });
    expect(refused.hint).toMatch(/^Move this file out of the folder/);
    await rename(scene.pathOf(stray), path.join(scene.folder, "moved.segment"));
    expect((await scene.look({ checksumAt: () => end })).covered).toEqual([{ first: 1, last: 20 }]);
  });

  it("begins anew if its folder is moved because it cannot be compared with the log, as the hint says", async () => {
    await upload(other(8), 1, 10);
    await scene.log.trim?.(16);
    const refused = (await scene.look().catch((error: unknown) => error)) as CairnError;
    const [, folder = ""] = /Move the folder (log-\S+\/) out of the store/.exec(refused.hint ?? "") ?? [];
    await rename(scene.pathOf(folder), path.join(scene.folder, "moved"));
    expect((await scene.look()).covered).toEqual([{ first: 16, last: 20 }]);
    expect(await scene.segments()).toHaveLength(1);
  });

  it("is not pruned down to messages that the log has trimmed, some of which it may have lost", async () => {
    await upload(messages, 1, 6);
    await upload(other(7), 7, 12);
    await upload(other(7), 13, 14);
    await scene.log.trim?.(10);
    await expect(planLost(scene.target())).rejects.toMatchObject({ code: "CONFLICT" });
    await scene.log.trim?.(15);
    expect((await planLost(scene.target())).segments).toEqual([]);
  });

  it("is not written to once the log has been replaced by another one", async () => {
    await upload(messages, 1, 5);
    await expect(
      scene.look({ log: Object.assign(new FaultyTxLog(scene.log), { id: async () => "another" }) }),
    ).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
    expect(await scene.segments()).toHaveLength(1);
  });

  it("ignores foreign files, and reports them", async () => {
    await upload(messages, 1, 20);
    const folder = scene.pathOf(`log-${scene.logId}`);
    await writeFile(`${folder}/notes.txt`, "mine");
    await writeFile(`${folder}/0000000000000001-0000000000000099-00000000.segment.bak`, "mine");
    const { covered } = await scene.look();
    const { foreign } = await listBackup(scene.store, scene.logId);
    expect(foreign.map((name) => name.split("/")[1])).toEqual([
      "0000000000000001-0000000000000099-00000000.segment.bak",
      "notes.txt",
    ]);
    expect(covered).toEqual([{ first: 1, last: 20 }]);
  });
});
