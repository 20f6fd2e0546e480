import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { levelProvider } from "../../src/level/level-kv-store.ts";
import { lastValueIn, mayHoldRows } from "../../src/tables/last-value.ts";

const KEY = Buffer.from("mstate");
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "cairn-last-value-"));
});
afterEach(() => rm(dir, { recursive: true }));

/** Writes `batches` batches, each with the row and a filler of this size. */
async function write(from: number, batches: number, bytes: number): Promise<void> {
  const kv = await levelProvider({ writeBufferSize: 64 << 10 }).open(dir);
  for (let n = from; n < from + batches; n += 1) {
    const filler = Buffer.alloc(bytes, `${n} `);
    await kv.batch([
      { type: "put", key: Buffer.from(`a${n % 7}`), value: filler },
      { type: "put", key: KEY, value: Buffer.from(`value ${n}`) },
      { type: "put", key: Buffer.from(`z${n}`), value: filler },
    ]);
  }
  await kv.close();
}

async function last(): Promise<string | undefined> {
  const value = await lastValueIn(dir, KEY);
  return value && Buffer.from(value).toString("utf8");
}

const filesOf = async (extension: string): Promise<string[]> =>
  (await readdir(dir)).filter((name) => name.endsWith(extension)).map((name) => path.join(dir, name));

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(file, bytes);
}

describe("the last value of a row in a closed database", () => {
  it.each([
    ["small batches", 20, 10],
    ["batches that span blocks", 7, 50_000],
    ["many tables", 400, 3_000],
  ])("is found in %s, in the log and, once it was recovered, in the tables", async (_, batches, bytes) => {
    await write(0, batches, bytes);
    expect(await last()).toBe(`value ${batches - 1}`);
    await write(0, 0, 0);
    for (const log of await filesOf(".log")) await rm(log);
    expect(await last()).toBe(`value ${batches - 1}`);
  });

  it("is never an older one, whichever byte of the log is flipped", { tags: "rest/slow" }, async () => {
    await write(0, 20, 10);
    const [log = ""] = await filesOf(".log");
    const { length } = await readFile(log);
    let found = 0;
    for (let at = 0; at < length; at += 1) {
      await flip(log, at);
      const value = await last();
      // A length that is too large looks like a batch that was never written completely.
      const isCutOff = at > length - length / 20 && value === "value 18";
      if (!isCutOff) expect(["value 19", undefined], `byte ${at}`).toContain(value);
      if (value === "value 19") found += 1;
      await flip(log, at);
    }
    expect(found).toBeGreaterThan(length * 0.9);
  });

  it("is never an older one, whichever byte of the tables is flipped", { tags: "rest/slow" }, async () => {
    await write(0, 20, 10);
    await write(0, 0, 0);
    await write(20, 1, 10);
    await write(0, 0, 0);
    for (const table of await filesOf(".ldb")) {
      const { length } = await readFile(table);
      for (let at = 0; at < length; at += 1) {
        await flip(table, at);
        expect(["value 20", undefined], `byte ${at}`).toContain(await last());
        await flip(table, at);
      }
    }
  });

  it("is unknown if a table that may contain it is missing, and nothing is left if all tables are", async () => {
    await write(0, 20, 10);
    await write(0, 0, 0);
    expect(await mayHoldRows(dir)).toBe(true);
    for (const table of await filesOf(".ldb")) await rm(table);
    expect(await last()).toBeUndefined();
    expect(await mayHoldRows(dir)).toBe(false);
  });
});
