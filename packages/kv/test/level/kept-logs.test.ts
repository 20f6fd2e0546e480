import { execFile } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { copyFile, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ClassicLevel } from "classic-level";
import { describe, expect, it } from "vitest";
import { checkWriteAheadLogs } from "../../src/files/write-ahead-logs.ts";
import { KEPT_FOLDER, openKeepingLogs } from "../../src/level/kept-logs.ts";
import { testDirectory } from "../support/test-directory.ts";

type Database = ClassicLevel<Uint8Array, Uint8Array>;

const directory = testDirectory();
const ENCODINGS = { keyEncoding: "view", valueEncoding: "view" } as const;
const make = (dir: string): Database => new ClassicLevel(dir, ENCODINGS);
const bytes = (text: string): Uint8Array => Buffer.from(text);

/**
 * Creates a database in which one key had several values and another was deleted, with everything in its write-ahead
 * log.
 */
async function written(dir: string): Promise<void> {
  const level = make(dir);
  await level.open();
  for (let n = 0; n < 50; n += 1) {
    await level.batch([
      { type: "put", key: bytes(`k${n % 7}`), value: bytes(`${n}`.repeat(1_000)) },
      { type: "put", key: bytes("last"), value: bytes(`${n}`) },
    ]);
  }
  await level.del(bytes("k3"));
  await level.close();
}

async function rows(level: Database): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const [key, value] of level.iterator()) {
    found[Buffer.from(key).toString()] = Buffer.from(value).toString();
  }
  return found;
}

/**
 * Returns a constructor of databases that skip their logs, as LevelDB does if it cannot get a descriptor: the logs no
 * longer exist once the database is open.
 */
function passingOverLogs(dir: string): () => Database {
  return () => {
    for (const name of readdirSync(dir)) if (name.endsWith(".log")) rmSync(join(dir, name));
    return make(dir);
  };
}

describe("a database that is opened", () => {
  it("has the rows of its write-ahead log even if LevelDB skipped the log", async () => {
    const dir = directory.path("passed-over");
    await written(dir);
    const end = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(passingOverLogs(dir), dir, { exists: true, end });
    const found = await rows(level);
    expect(found).toMatchObject({ last: "49", k0: "49".repeat(1_000), k6: "48".repeat(1_000) });
    expect(found).not.toHaveProperty("k3");
    await level.close();
    expect((await readdir(dir)).filter((name) => name.startsWith("unapplied"))).toEqual([]);
  });

  it("is recovered completely the next time if the recovery failed halfway", async () => {
    const dir = directory.path("half-way");
    await written(dir);
    const end = await checkWriteAheadLogs(dir);
    const failing = (): Database => {
      const level = passingOverLogs(dir)();
      // Between opening and settling, the process runs out of resources.
      level.batch = () => {
        throw Object.assign(new Error("too many open files"), { code: "EMFILE" });
      };
      return level;
    };
    await expect(openKeepingLogs(failing, dir, { exists: true, end })).rejects.toMatchObject({
      code: "EMFILE",
    });
    const again = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(() => make(dir), dir, { exists: true, end: again });
    expect(await rows(level)).toMatchObject({ last: "49" });
    await level.close();
  });

  it("does not receive again the batches that LevelDB has read, and nothing is left behind", async () => {
    const dir = directory.path("read");
    await written(dir);
    const end = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(() => make(dir), dir, { exists: true, end });
    expect(await rows(level)).toMatchObject({ last: "49" });
    await level.close();
    // Batches written again would be in the log that follows.
    expect(await checkWriteAheadLogs(dir)).toBeUndefined();
    expect((await readdir(dir)).filter((name) => name.startsWith("unapplied"))).toEqual([]);
  });

  it("receives nothing again at another attempt after the one that a full disk ended", async () => {
    const dir = directory.path("repeated");
    const first = make(dir);
    await first.open();
    for (let n = 0; n < 20; n += 1) await first.put(bytes(`k${n}`), bytes(`${n}`.repeat(1_000)));
    await first.close();
    await mkdir(join(dir, KEPT_FOLDER));
    for (const name of await readdir(dir))
      if (name.endsWith(".log")) await copyFile(join(dir, name), join(dir, KEPT_FOLDER, name));
    const end = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(() => make(dir), dir, { exists: true, end });
    expect(Object.keys(await rows(level))).toHaveLength(20);
    await level.close();
    // Batches written again would be in the log that follows.
    expect(await checkWriteAheadLogs(dir)).toBeUndefined();
    expect(await readdir(dir)).not.toContain(KEPT_FOLDER);
  });
});

const OPEN = `
import { levelProvider } from ${JSON.stringify(new URL("../../dist/bundle/index.js", import.meta.url).href)};
const [dir, at] = process.argv.slice(1);
while (Date.now() < Number(at));
try {
  const store = await levelProvider().open(dir);
  console.log(String(await store.get(Buffer.from("last"))));
  await store.close();
} catch (error) {
  console.log(error.code);
}`;

it(
  "of processes that open it at the same moment, each has everything or finds it locked",
  { timeout: 120_000 },
  async () => {
    const dir = directory.path("at-once");
    await written(dir);
    for (let round = 0; round < 12; round += 1) {
      const at = String(Date.now() + 700);
      const opened = Array.from({ length: 3 }, async () => {
        const args = ["--input-type=module", "-e", OPEN, dir, at];
        return (await promisify(execFile)(process.execPath, args)).stdout.trim();
      });
      for (const found of await Promise.all(opened)) expect(["49", "INDEX_LOCKED"]).toContain(found);
    }
  },
);
