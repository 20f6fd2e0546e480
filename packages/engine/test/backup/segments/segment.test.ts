import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeSegment, encodeSegment, type SegmentCodec } from "../../../src/backup/segments/segment.ts";
import { backupFolder, parseSegmentName, segmentFile } from "../../../src/backup/segments/segment-name.ts";
import { anchorOf } from "../../../src/log/anchor.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";

const codecs: readonly SegmentCodec[] = ["none", "gzip"];

const messagesOf = (first: number, contents: readonly [number, number, Uint8Array][]): LogMessage[] =>
  contents.map(([time, nanoseconds, payload], index) => ({
    position: first + index,
    time,
    nanoseconds,
    payload,
  }));

const someMessages = fc
  .tuple(
    fc.integer({ min: 1, max: 2 ** 50 }),
    fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 4_000_000_000_000 }),
        fc.integer({ min: 0, max: 999_999 }),
        fc.uint8Array({ maxLength: 300 }),
      ),
      { minLength: 1, maxLength: 40 },
    ),
  )
  .map(([first, contents]) => messagesOf(first, contents));

function small(codec: SegmentCodec): Promise<{ file: string; content: Buffer }> {
  return encodeSegment({
    log: { id: "4f0c-11", name: "cairn", offset: 7 },
    before: "ab".repeat(32),
    messages: messagesOf(3, [
      [1_795_155_140_001, 12, Buffer.from("one\n2 3 4\n{}")],
      [1_795_155_140_000, 0, Buffer.alloc(0)],
      [1_795_155_140_002, 999_999, Buffer.from([0, 10, 10, 255])],
    ]),
    node: "node-1",
    at: 1_795_155_150_000,
    codec,
  });
}

describe("a segment", () => {
  it("returns the written messages, with any payloads, times and positions", async () => {
    await fc.assert(
      fc.asyncProperty(
        someMessages,
        fc.constantFrom(...codecs),
        fc.integer({ min: 0, max: 2 ** 40 }),
        fc.string({ minLength: 1, maxLength: 80 }),
        async (messages, codec, offset, id) => {
          const log = { id, name: "a log", offset };
          const { file, content } = await encodeSegment({
            log,
            before: undefined,
            messages,
            node: "a",
            at: 5,
            codec,
          });
          const { header, messages: read } = await decodeSegment(file, content);
          expect([...read].map((one) => ({ ...one, payload: Uint8Array.from(one.payload) }))).toEqual(
            messages.map((one) => ({ ...one, payload: Uint8Array.from(one.payload) })),
          );
          const last = messages.at(-1);
          expect(header).toMatchObject({ log, codec, before: null, end: last && anchorOf(last).sha256 });
          const name = parseSegmentName(file);
          expect(name).toMatchObject({ first: header.first, last: header.last });
          expect(file.startsWith(backupFolder(id))).toBe(true);
        },
      ),
      { numRuns: 150 },
    );
  });

  it.each(codecs)("is refused with any byte changed (%s)", async (codec) => {
    const { file, content } = await small(codec);
    expect((await decodeSegment(file, content)).messages).toHaveLength(3);
    for (let at = 0; at < content.length; at += 1) {
      for (const bit of [0x01, 0x20, 0x80]) {
        const damaged = Buffer.from(content);
        damaged.writeUInt8(damaged.readUInt8(at) ^ bit, at);
        await expect(decodeSegment(file, damaged), `byte ${at}`).rejects.toMatchObject({
          code: "SEGMENT_CORRUPT",
        });
      }
    }
  });

  it.each(codecs)("is rejected if it was truncated anywhere, or extended (%s)", async (codec) => {
    const { file, content } = await small(codec);
    for (let length = 0; length < content.length; length += 1) {
      await expect(decodeSegment(file, content.subarray(0, length)), `${length}`).rejects.toMatchObject({
        code: "SEGMENT_CORRUPT",
      });
    }
    for (const more of ["\n", "x", "{}\n", content]) {
      await expect(decodeSegment(file, Buffer.concat([content, Buffer.from(more)]))).rejects.toMatchObject({
        code: "SEGMENT_CORRUPT",
      });
    }
  });

  it.each(codecs)("is refused under another name, even in the folder of another log (%s)", async (codec) => {
    const { file, content } = await small(codec);
    const name = parseSegmentName(file);
    if (name === undefined) throw new Error(file);
    const others = [
      { ...name, logId: "4f0c-12" },
      { ...name, first: name.first - 1 },
      { ...name, first: name.first + 1 },
      { ...name, last: name.last + 1 },
      { ...name, end: name.end.replace(/^./, (digit) => (digit === "0" ? "1" : "0")) },
      { ...name, plainBytes: codec === "none" ? 100 : undefined },
      { ...name, plainBytes: (name.plainBytes ?? 0) + 1 },
    ];
    for (const other of others) {
      await expect(decodeSegment(segmentFile(other), content)).rejects.toMatchObject({
        code: "SEGMENT_CORRUPT",
      });
    }
    await expect(decodeSegment(`${file}.old`, content)).rejects.toMatchObject({ code: "SEGMENT_CORRUPT" });
  });

  it("is refused if its messages would need more memory than a segment may have", async () => {
    const { file, content } = await small("gzip");
    const name = parseSegmentName(file);
    const text = content.toString("latin1");
    const bytes = 81 * 1024 * 1024;
    const forged = text.replace(/"bytes":\d+/, `"bytes":${bytes}`);
    const endAt = forged.lastIndexOf("\n", forged.length - 2) + 1;
    const body = Buffer.from(forged.slice(0, endAt), "latin1");
    const sha256 = createHash("sha256").update(body).digest("hex");
    await expect(
      decodeSegment(
        segmentFile({
          ...name,
          logId: "4f0c-11",
          first: 10,
          last: 12,
          end: name?.end ?? "",
          plainBytes: bytes,
        }),
        Buffer.concat([body, Buffer.from(`${sha256}\n`)]),
      ),
    ).rejects.toMatchObject({ code: "SEGMENT_CORRUPT", message: expect.stringContaining("first line") });
  });
});

it.each([
  "log-a/0000000000000000-0000000000000001-aabbccdd.segment",
  "log-a/0000000000000002-0000000000000001-aabbccdd.segment",
  "log-a/0000000000000001-0000000000000001-AABBCCDD.segment",
  "log-a/0000000000000001-0000000000000001-aabbccdd.segment.tmp",
  "log-a/b/0000000000000001-0000000000000001-aabbccdd.segment",
  "log-a/1-1-aabbccdd.segment",
  "log-a/0000000000000001-0000000000000001-aabbccdd-0.segment",
  "log-a/0000000000000001-0000000000000001-aabbccdd-010.segment",
  "log-a/9999999999999999-9999999999999999-aabbccdd.segment",
  "log-a/in-progress.json",
  "xlog-a/0000000000000001-0000000000000001-aabbccdd.segment",
])("a file %s is not treated as a segment", (name) => {
  expect(parseSegmentName(name)).toBeUndefined();
});
