import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isDamagedMessage } from "../../src/transactions/message-frame.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../src/transactions/transaction-codec.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { bytes, takeMessages } from "../../testing/log-messages.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-damaged-log-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Returns text that appears unchanged in a table, because it cannot be compressed. */
const documentOf = (n: number): string => createHash("sha256").update(String(n)).digest("base64");

const message = (n: number): Uint8Array =>
  encodeTransaction({ ops: [["put", "pods", `k${n}`, documentOf(n)]] }, "any", "0".repeat(16));

async function write(count: number): Promise<void> {
  const log = await openEmbeddedTxLog({ path: folder });
  await log.create((id) => encodeBirthRecord({ log: id, offset: 0 }));
  for (let n = 0; n < count; n += 1) await log.append(message(n));
  await log.close();
}

/** Flips a bit of the fifth document in the file with this extension; a second call restores the bit. */
async function damage(extension: string): Promise<void> {
  const text = documentOf(5).slice(10, 20);
  for (const name of await readdir(folder)) {
    if (!name.endsWith(extension)) continue;
    const content = await readFile(path.join(folder, name));
    const at = content.indexOf(text) - 1;
    if (at < 0) continue;
    content.writeUInt8(content.readUInt8(at) ^ 1, at);
    await writeFile(path.join(folder, name), content);
    return;
  }
  throw new Error(`no file ${extension} holds ${text}`);
}

async function using<T>(use: (log: TxLog) => Promise<T>): Promise<T> {
  const log = await openEmbeddedTxLog({ path: folder });
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

/** The size of the footer of a LevelDB table, and of the part that locates the filters and the index. */
const FOOTER_BYTES = 48;
const PLACES_BYTES = 8;

const DAMAGED = { code: "LOG_GAP", hint: expect.stringContaining("copy") };

describe("an embedded log that was damaged on disk", () => {
  it("is refused when its newest part is damaged, instead of losing its end", async () => {
    await write(20);
    await damage(".log");
    await expect(openEmbeddedTxLog({ path: folder })).rejects.toMatchObject(DAMAGED);
    // Opening the log changed nothing: once the bit is restored, everything is intact.
    await damage(".log");
    expect(await using(async (log) => await log.bounds())).toEqual({ first: 1, last: 21 });
  });

  it("is refused if a page in the middle of a group of appends is missing, even if everything else is intact", async () => {
    await write(1);
    await using(async (log) => {
      for (let group = 0; group < 3; group += 1) {
        const texts = Array.from({ length: 300 }, (_, n) => message(1_000 * group + n));
        await Promise.all(texts.map(async (text) => await log.append(text)));
      }
    });
    const [name = ""] = (await readdir(folder)).filter((file) => file.endsWith(".log"));
    const whole = await readFile(path.join(folder, name));
    const pages = Math.floor(whole.length / 32_768);
    expect(pages).toBeGreaterThan(3);
    for (let page = 0; page < pages - 1; page += 1) {
      const cut = Buffer.concat([whole.subarray(0, page * 32_768), whole.subarray((page + 1) * 32_768)]);
      await writeFile(path.join(folder, name), cut);
      await expect(openEmbeddedTxLog({ path: folder })).rejects.toMatchObject(DAMAGED);
    }
    await writeFile(path.join(folder, name), whole);
    expect(await using(async (log) => await log.bounds())).toEqual({ first: 1, last: 902 });
  });

  it("counts as damaged, and is not retried, wherever the end of a table leads LevelDB", async () => {
    await write(20);
    await using(async () => undefined);
    const name = (await readdir(folder)).find((file) => file.endsWith(".ldb")) ?? "";
    const whole = await readFile(path.join(folder, name));
    let damaged = 0;
    for (let back = FOOTER_BYTES; back > FOOTER_BYTES - PLACES_BYTES; back -= 1) {
      const content = Buffer.from(whole);
      content.writeUInt8(content.readUInt8(content.length - back) ^ 0x40, content.length - back);
      await writeFile(path.join(folder, name), content);
      try {
        expect(await using(async (log) => await takeMessages(log, 1, 21))).toHaveLength(21);
      } catch (error) {
        expect(error).toMatchObject(DAMAGED);
        damaged += 1;
      }
    }
    expect(damaged).toBeGreaterThan(0);
  });

  it("is refused before LevelDB opens it, because LevelDB may end the process over a damaged table", async () => {
    await write(20);
    await using(async (log) => await log.bounds());
    await damage(".ldb");
    await expect(openEmbeddedTxLog({ path: folder })).rejects.toMatchObject(DAMAGED);
    await damage(".ldb");
    expect(await using(async (log) => await takeMessages(log, 1, 21))).toHaveLength(21);
  });

  it("never returns a message that differs from the written one, whether fetched or read", async () => {
    // There are so many messages that opening the log does not read the damaged part.
    await write(200);
    await using(async (log) => {
      await damage(".ldb");
      await expect(log.fetch(7)).rejects.toMatchObject(DAMAGED);
      await expect(takeMessages(log, 1, 201)).rejects.toMatchObject(DAMAGED);
    });
  });

  it(
    "accepts no more messages once the background check of large tables has found damage",
    { tags: "rest/slow" },
    async () => {
      await write(20);
      await using(async (log) => {
        for (let n = 0; n < 24; n += 1) await log.append(randomBytes(1_000_000));
      });
      // If a log was closed before its tables were compared, they are all compared before it is opened again.
      const links = path.join(folder, "unchecked");
      await using(async () => await vi.waitFor(() => expect(existsSync(links)).toBe(false)));
      await damage(".ldb");
      await using(async (log) => {
        await vi.waitFor(async () => await expect(log.append(bytes("more"))).rejects.toMatchObject(DAMAGED));
        await expect(log.fetch(2)).rejects.toMatchObject(DAMAGED);
      });
    },
  );
});

describe("an embedded log whose folder is removed while it is open", () => {
  it("refuses messages, creates no new log there, and continues when the folder exists again", async () => {
    await write(20);
    await using(async (log) => {
      const elsewhere = `${folder}-elsewhere`;
      await rename(folder, elsewhere);
      const large = new Uint8Array(1_000_000);
      const stored = await Promise.allSettled(
        Array.from({ length: 12 }, async () => await log.append(large)),
      );
      const refused = stored.filter(({ status }) => status === "rejected");
      expect(refused.length).toBeGreaterThan(0);
      for (const one of refused) expect(one).toMatchObject({ reason: { code: "LOG_UNREACHABLE" } });
      const more = Array.from({ length: 5 }, async () => await log.append(bytes("more")));
      for (const one of more) await expect(one).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
      await expect(readdir(folder)).rejects.toMatchObject({ code: "ENOENT" });

      await rename(elsewhere, folder);
      const { position } = await log.append(message(21));
      expect(position).toBeGreaterThanOrEqual(22 + stored.length - refused.length);
      expect(await log.fetch(position)).toMatchObject({ payload: Buffer.from(message(21)) });
      expect(await takeMessages(log, 1, position)).toHaveLength(position);
    });
  });

  it("is reported as LOG_GAP if the restored folder has lost acknowledged messages", async () => {
    await write(20);
    const copy = `${folder}-copy`;
    await cp(folder, copy, { recursive: true });
    await using(async (log) => {
      await log.append(message(20));
      await rm(folder, { recursive: true });
      const large = new Uint8Array(1_000_000);
      await Promise.allSettled(Array.from({ length: 12 }, async () => await log.append(large)));
      await rename(copy, folder);
      await expect(log.append(message(21))).rejects.toMatchObject(DAMAGED);
      await expect(log.fetch(2)).rejects.toMatchObject(DAMAGED);
    });
  });
});

describe("a message", () => {
  it("is damaged when any bit after its prefix is flipped", () => {
    const payload = message(1);
    expect(isDamagedMessage(payload)).toBe(false);
    for (let at = "cairn/1 ".length; at < payload.length; at += 1) {
      const changed = Uint8Array.from(payload);
      changed.set([(payload[at] ?? 0) ^ 0x02], at);
      expect(isDamagedMessage(changed), `byte ${at}`).toBe(true);
    }
  });

  it.each(["", "cairn/1 ", "hello", "x".repeat(100)])("of another program is not damaged: %j", (text) => {
    expect(isDamagedMessage(bytes(text))).toBe(false);
  });
});
