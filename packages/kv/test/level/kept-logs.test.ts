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
    const ends = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(passingOverLogs(dir), dir, { exists: true, ends });
    const found = await rows(level);
    expect(found).toMatchObject({ last: "49", k0: "49".repeat(1_000), k6: "48".repeat(1_000) });
    expect(found).not.toHaveProperty("k3");
    await level.close();
    expect((await readdir(dir)).filter((name) => name.startsWith("unapplied"))).toEqual([]);
  });

  it("is recovered completely the next time if the recovery failed halfway", async () => {
    const dir = directory.path("half-way");
    await written(dir);
    const ends = await checkWriteAheadLogs(dir);
    const failing = (): Database => {
      const level = passingOverLogs(dir)();
      // Between opening and settling, the process runs out of resources.
      level.batch = () => {
        throw Object.assign(new Error("too many open files"), { code: "EMFILE" });
      };
      return level;
    };
    await expect(openKeepingLogs(failing, dir, { exists: true, ends })).rejects.toMatchObject({
      code: "EMFILE",
    });
    const again = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(() => make(dir), dir, { exists: true, ends: again });
    expect(await rows(level)).toMatchObject({ last: "49" });
    await level.close();
  });

  it("does not receive again the batches that LevelDB has read, and nothing is left behind", async () => {
    const dir = directory.path("read");
    await written(dir);
    const ends = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(() => make(dir), dir, { exists: true, ends });
    expect(await rows(level)).toMatchObject({ last: "49" });
    await level.close();
    // Batches written again would be in the log that follows.
    expect(await checkWriteAheadLogs(dir)).toEqual([]);
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
    const ends = await checkWriteAheadLogs(dir);
    const level = await openKeepingLogs(() => make(dir), dir, { exists: true, ends });
    expect(Object.keys(await rows(level))).toHaveLength(20);
    await level.close();
    // Batches written again would be in the log that follows.
    expect(await checkWriteAheadLogs(dir)).toEqual([]);
    expect(await readdir(dir)).not.toContain(KEPT_FOLDER);
  });
});

/** Writes until a second write-ahead log has batches while the first one is becoming a table, and dies. */
const WRITE_UNTIL_FLUSH = `
import { readdirSync, statSync } from "node:fs";
import { levelProvider } from ${JSON.stringify(new URL("../../dist/bundle/index.js", import.meta.url).href)};
const [dir] = process.argv.slice(1);
const store = await levelProvider({ writeBufferSize: 4 << 20 }).open(dir);
for (let n = 0; ; n += 1) {
  await store.batch([
    { type: "put", key: Buffer.from("k" + (n % 97)), value: Buffer.from(String(n).repeat(5_000)) },
    { type: n % 2 === 0 ? "put" : "del", key: Buffer.from("even" + (n % 10 >> 1)), value: Buffer.from("here") },
    { type: "put", key: Buffer.from("last"), value: Buffer.from(String(n)) },
  ]);
  const logs = readdirSync(dir).filter((name) => name.endsWith(".log"));
  if (logs.filter((name) => statSync(dir + "/" + name).size > 0).length > 1) process.kill(process.pid, "SIGKILL");
}`;

/** Creates a database that must recover two logs; returns their names. */
async function killedInFlush(dir: string): Promise<string[]> {
  const killed = promisify(execFile)(process.execPath, ["--input-type=module", "-e", WRITE_UNTIL_FLUSH, dir]);
  await expect(killed).rejects.toMatchObject({ signal: "SIGKILL" });
  const names = (await checkWriteAheadLogs(dir)).map(({ name }) => name);
  expect(names).toHaveLength(2);
  return names;
}

/** Returns what {@link killedInFlush} wrote, according to the number of the last batch. */
function rowsUpTo(last: number): Record<string, string> {
  const expected: Record<string, string> = { last: `${last}` };
  for (let n = Math.max(0, last - 96); n <= last; n += 1) expected[`k${n % 97}`] = `${n}`.repeat(5_000);
  if (last % 2 === 0) expected[`even${(last % 10) >> 1}`] = "here";
  return expected;
}

async function expectEverything(level: Database): Promise<void> {
  const found = await rows(level);
  expect(Number(found["last"])).toBeGreaterThan(97);
  expect(found).toEqual(rowsUpTo(Number(found["last"])));
}

describe("a database that was killed while a full log became a table", () => {
  it("has everything, and receives nothing again that LevelDB has read from both logs", async () => {
    const dir = directory.path("two-read");
    await killedInFlush(dir);
    const ends = await checkWriteAheadLogs(dir);
    const open = (): Database => {
      const level = make(dir);
      level.getSync = () => {
        throw new Error("a row was compared although the tables show that both logs were read");
      };
      return level;
    };
    const level = await openKeepingLogs(open, dir, { exists: true, ends });
    await expectEverything(level);
    await level.close();
    expect(await checkWriteAheadLogs(dir)).toEqual([]);
  });

  it("receives nothing again if a comparison shows that LevelDB has read both logs", async () => {
    const dir = directory.path("two-compared");
    await killedInFlush(dir);
    const level = await openKeepingLogs(() => make(dir), dir, { exists: true, ends: undefined });
    await expectEverything(level);
    await level.close();
    expect(await checkWriteAheadLogs(dir)).toEqual([]);
  });

  it.each([0, 1])("has everything although LevelDB skipped log %i of the two", async (skipped) => {
    const dir = directory.path(`two-skipped-${skipped}`);
    const names = await killedInFlush(dir);
    const ends = await checkWriteAheadLogs(dir);
    const passingOver = (): Database => {
      rmSync(join(dir, names[skipped] ?? ""));
      return make(dir);
    };
    const level = await openKeepingLogs(passingOver, dir, { exists: true, ends });
    await expectEverything(level);
    await level.close();
    expect((await readdir(dir)).filter((name) => name.startsWith("unapplied"))).toEqual([]);
  });

  it("has everything once an opening succeeds, wherever earlier ones failed to apply the logs again", async () => {
    const dir = directory.path("two-failing");
    await killedInFlush(dir);
    for (let allowed = 0; ; allowed += 1) {
      const ends = await checkWriteAheadLogs(dir);
      let groups = 0;
      const failing = (): Database => {
        const level = passingOverLogs(dir)();
        const batch = level.batch.bind(level) as () => ReturnType<Database["batch"]>;
        level.batch = (() => {
          groups += 1;
          if (groups > allowed) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
          return batch();
        }) as Database["batch"];
        return level;
      };
      const opened = openKeepingLogs(failing, dir, { exists: true, ends });
      const level = await opened.catch(() => undefined);
      if (level === undefined) continue;
      // What an earlier attempt applied was in a log that LevelDB skipped, too.
      expect(allowed).toBeGreaterThan(2);
      await expectEverything(level);
      await level.close();
      return;
    }
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
  { tags: "rest/slow" },
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
