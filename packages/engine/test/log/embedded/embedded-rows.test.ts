import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { ClassicLevel } from "classic-level";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { bytes, takeMessages, text } from "../../../testing/log-messages.ts";

const ROWS = { keyEncoding: "view", valueEncoding: "view" } as const;
type Rows = ClassicLevel<Uint8Array, Uint8Array>;

function uint64(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64BE(BigInt(value));
  return buffer;
}

/** Returns the rows of a log as 0.1.0 wrote them: each message with an id, and all in one batch. */
function rowsOfFormat1(messages: readonly string[]): { type: "put"; key: Uint8Array; value: Uint8Array }[] {
  const time = uint64(Date.now());
  const rows = messages.flatMap((message, at) => [
    [uint64(at + 1), Buffer.concat([time, bytes(message)])] as const,
    [Buffer.concat([Uint8Array.of(0x02), uint64(at + 1)]), Buffer.concat([time, bytes(message)])] as const,
  ]);
  const end = Buffer.concat([uint64(messages.length), Buffer.alloc(8)]);
  end.writeUInt32BE(crc32(end.subarray(0, 12)), 12);
  const head = bytes(JSON.stringify({ format: 1, id: "former" }));
  const all = [...rows, [Uint8Array.of(0xff), head] as const, [Uint8Array.of(0x03), end] as const];
  return all.map(([key, value]) => ({ type: "put", key, value }));
}

describe("the rows of an embedded log", () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
    path = join(folder, "log");
  });
  afterEach(() => rm(folder, { recursive: true }));

  const withRows = async <T>(use: (rows: Rows) => Promise<T>): Promise<T> => {
    const rows: Rows = new ClassicLevel(path, ROWS);
    const result = await use(rows);
    await rows.close();
    return result;
  };

  it("become those of this format in a log of format 1, which keeps everything", async () => {
    await withRows((rows) => rows.batch(rowsOfFormat1(["birth", "one", "two"])));
    for (const [n, message] of ["three", "four"].entries()) {
      const log = await openEmbeddedTxLog({ path });
      expect(await log.id()).toBe("former");
      expect(await log.append(bytes(message))).toEqual({ position: 4 + n, duplicate: false });
      await log.close();
    }
    const log = await openEmbeddedTxLog({ path });
    expect((await takeMessages(log, 1, 5)).map(text)).toEqual(["birth", "one", "two", "three", "four"]);
    await log.close();
    const keys = await withRows((rows) => rows.keys().all());
    expect(keys.map((key) => key[0])).toEqual(Array.from({ length: 7 }, () => 0));
  });

  it("are refused in a log of format 1 that lost its end", async () => {
    await withRows(async (rows) => {
      await rows.batch(rowsOfFormat1(["birth", "one", "two"]));
      await rows.del(uint64(3));
    });
    const error = { code: "LOG_GAP", message: /lost its messages 3 to 3/ };
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject(error);
  });

  it("are refused if the last one does not end its batch", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    await Promise.all(["one", "two", "three"].map((message) => log.append(bytes(message))));
    await log.close();
    await withRows((rows) => rows.del(uint64(4)));
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
  });

  it("are refused if there is a head without a message", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    await log.close();
    await withRows((rows) => rows.del(uint64(1)));
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
  });

  it("are refused if messages are missing that were there at the last removal", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    for (const message of ["one", "two", "three"]) await log.append(bytes(message));
    await log.trim?.(3);
    await log.close();
    await withRows((rows) => rows.del(uint64(4)));
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
  });
});
