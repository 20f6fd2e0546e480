import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { Readable } from "node:stream";
import { ClassicLevel } from "classic-level";
import { systemClock } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { anchorOf } from "../../../src/log/anchor.ts";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { bytes, takeMessages, text } from "../../../testing/log-messages.ts";

const run = promisify(execFile);
const moduleUrl = (name: string): string => new URL(`../../../dist/src/log/${name}.js`, import.meta.url).href;

describe("an embedded log", () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
    path = join(folder, "log");
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** Runs `body` in another process, with `log` bound to the opened log. Returns the process. */
  const inProcess = (body: string, limit = "true"): ChildProcessByStdio<null, Readable, null> => {
    const script = `
      import { openEmbeddedTxLog } from ${JSON.stringify(moduleUrl("embedded/embedded-tx-log"))};
      import { followLog } from ${JSON.stringify(moduleUrl("follow-log"))};
      const log = await openEmbeddedTxLog({ path: ${JSON.stringify(path)} });
      await log.create((id) => Buffer.from(id));
      const say = (line) => process.stdout.write(line + "\\n");
      ${body}`;
    const command = `${limit}; exec "$0" --input-type=module -e "$1"`;
    return spawn("/bin/sh", ["-c", command, process.execPath, script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  };

  it("creates nothing on disk before it is created", async () => {
    const log = await openEmbeddedTxLog({ path });
    expect(await log.exists()).toBe(false);
    await expect(log.append(bytes("one"))).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await log.close();
    expect(await readdir(folder)).toEqual([]);
  });

  it("stores no message whose time nothing could read, and begins no earlier than 1970", async () => {
    const clock = vi.spyOn(systemClock, "now");
    onTestFinished(() => clock.mockRestore());
    const log = await openEmbeddedTxLog({ path });
    onTestFinished(() => log.close());
    clock.mockReturnValue(Date.parse("1969-07-20"));
    await log.create((id) => bytes(id));
    await log.append(bytes("one"));
    clock.mockReturnValue(Date.parse("2554-07-22"));
    await expect(log.append(bytes("two"))).rejects.toMatchObject({
      code: "SYSTEM_REFUSED",
      message: expect.stringContaining("2554-07-22"),
    });
    clock.mockReturnValue(Date.parse("2554-07-21"));
    await log.append(bytes("three"));
    const messages = await takeMessages(log, 2, 2);
    expect(messages.map((message) => [message.time, text(message)])).toEqual([
      [0, "one"],
      [Date.parse("2554-07-21"), "three"],
    ]);
    expect(messages.map((message) => anchorOf(message).time)).toEqual(messages.map(({ time }) => time));
  });

  it("is named after its folder, or as configured", async () => {
    const logs = [await openEmbeddedTxLog({ path }), await openEmbeddedTxLog({ path, name: "orders" })];
    expect(logs.map(({ name }) => name)).toEqual(["log", "orders"]);
    for (const log of logs) await log.close();
  });

  it(
    "has every acknowledged message at its position and no hole after its process is killed",
    { tags: "rest/slow" },
    async () => {
      const answered = new Map<number, string>();
      for (let round = 0; round < 5; round += 1) {
        const child = inProcess(`
        const write = async (writer) => {
          for (let n = 0; ; n += 1) {
            const text = "round ${round} writer " + writer + " message " + n + " " + "x".repeat(n % 3000);
            const { position } = await log.append(Buffer.from(text));
            say(position + "=" + text);
          }
        };
        for (let writer = 0; writer < 8; writer += 1) void write(writer);`);
        const enough = answered.size + 100 + Math.floor(Math.random() * 400);
        for await (const line of createInterface({ input: child.stdout })) {
          const [position, content] = line.split(/=(.*)/s);
          // The last line may have been cut by the kill.
          if (content !== undefined && answered.size < enough) answered.set(Number(position), content);
          if (answered.size === enough) child.kill("SIGKILL");
        }
        const log = await openEmbeddedTxLog({ path });
        const { first, last } = await log.bounds();
        expect(last).toBeGreaterThanOrEqual(Math.max(...answered.keys()));
        const messages = await takeMessages(log, first, last);
        expect(messages.map(({ position }) => position)).toEqual(
          Array.from({ length: last }, (_, n) => n + 1),
        );
        for (const [position, content] of answered) expect(text(messages[position - 1])).toBe(content);
        await log.close();
      }
    },
  );

  it("refuses to be opened by two processes, or twice by one", async () => {
    const child = inProcess(`say("open"); setInterval(() => {}, 1000);`);
    await once(child.stdout, "data");
    const locked = { code: "INDEX_LOCKED", message: new RegExp(path) };
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject(locked);
    child.kill("SIGKILL");
    await once(child, "exit");
    const log = await openEmbeddedTxLog({ path });
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject(locked);
    await log.close();
  });

  it("reports a full disk, keeps what it acknowledged, and continues when there is space", async () => {
    // A limit on the size of files simulates a full disk: the write-ahead log reaches it in the middle of a record.
    const child = inProcess(
      `
      const refused = [];
      const stop = new AbortController();
      let read = 0;
      // When the log is reopened, only readings are interrupted.
      const reading = (async () => {
        for await (const messages of followLog(log, { signal: stop.signal, maxBackoffMs: 20 })) read += messages.length;
      })();
      for (let n = 0; refused.length < 3; n += 1) {
        try {
          const { position } = await log.append(Buffer.alloc(100_000, n));
          say("stored " + position + " " + n);
        } catch (error) {
          refused.push(error.code);
          say("refused " + error.code + " " + n);
        }
      }
      const small = await log.append(Buffer.from("small"));
      while (read < small.position) await new Promise(setImmediate);
      stop.abort();
      await reading;
      say("small " + small.position);
      await log.close();`,
      "ulimit -f 1000",
    );
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) lines.push(line);
    const stored = lines
      .filter((line) => line.startsWith("stored"))
      .map((line) => line.split(" ").map(Number));
    expect(lines.filter((line) => line.startsWith("refused DISK_FULL"))).toHaveLength(3);
    expect(stored.length).toBeGreaterThan(2);
    const small = Number(/^small (\d+)$/.exec(lines.at(-1) ?? "")?.[1]);
    const log = await openEmbeddedTxLog({ path });
    for (const [, position = 0, n] of stored) expect((await log.fetch(position))?.payload[0]).toBe(n);
    expect(text(await log.fetch(small))).toBe("small");
    const { last } = await log.bounds();
    expect((await takeMessages(log, 1, last)).map(({ position }) => position)).toEqual(
      Array.from({ length: last }, (_, n) => n + 1),
    );
    expect(await log.append(bytes("after"))).toEqual({ position: last + 1, duplicate: false });
    await log.close();
  });

  it("stays open for readers if its disk runs out of inodes", { tags: "rest/root" }, async () => {
    await mkdir(path);
    await run("mount", ["-t", "tmpfs", "-o", "size=64m,nr_inodes=64", "tmpfs", path]);
    try {
      const log = await openEmbeddedTxLog({ path: join(path, "log") });
      await log.create(bytes);
      const ballast = join(path, "ballast");
      await mkdir(ballast);
      const takeInodes = async (): Promise<void> => {
        for (let n = 0; ; n += 1) await writeFile(join(ballast, `${n}`), "");
      };
      await expect(takeInodes()).rejects.toMatchObject({ code: "ENOSPC" });
      const fill = async (): Promise<void> => {
        for (let n = 0; n < 400; n += 1) await log.append(randomBytes(100_000));
      };
      const full = { code: "DISK_FULL", hint: expect.stringContaining("df -i") };
      await expect(fill()).rejects.toMatchObject(full);
      await expect(log.append(bytes("refused"))).rejects.toMatchObject(full);
      expect(await log.fetch(2)).toBeDefined();
      await rm(ballast, { recursive: true });
      const { position } = await log.append(bytes("after"));
      expect(text(await log.fetch(position))).toBe("after");
      await log.close();
    } finally {
      await run("umount", ["-l", path]);
    }
  });

  it("writes no removal behind a record that a full disk has cut off", { tags: "rest/root" }, async () => {
    await mkdir(path);
    await run("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", path]);
    try {
      const disk = join(path, "log");
      const ballast = join(path, "ballast");
      let log = await openEmbeddedTxLog({ path: disk });
      await log.create(bytes);
      await writeFile(ballast, Buffer.alloc(22 * 1024 * 1024));
      let last = 1;
      const fill = async (): Promise<void> => {
        // What can be compressed would fit into a table, and the incomplete record would no longer be needed.
        for (;;) ({ position: last } = await log.append(randomBytes(100_000)));
      };
      await expect(fill()).rejects.toMatchObject({ code: "DISK_FULL" });
      // Enough for a removal, but not for opening the database again.
      await truncate(ballast, 21 * 1024 * 1024);
      await expect(log.trim?.(3)).rejects.toMatchObject({ code: "DISK_FULL" });
      await log.close();
      await rm(ballast);
      log = await openEmbeddedTxLog({ path: disk });
      const messages = await takeMessages(log, 1, last);
      expect(messages.map(({ position }) => position)).toEqual(Array.from({ length: last }, (_, n) => n + 1));
      await log.trim?.(3);
      expect(await log.bounds()).toEqual({ first: 3, last });
      await log.close();
    } finally {
      await run("umount", ["-l", path]);
    }
  });

  it("counts as damaged, not as empty, when some of its files are missing", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    await log.close();
    await rm(join(path, "CURRENT"));
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
  });

  it("counts as damaged when its manifest cannot be read", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    await log.close();
    for (const name of await readdir(path))
      if (name.startsWith("MANIFEST")) await truncate(join(path, name), 20);
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
  });

  it("counts as damaged, and is not retried, if the manifest that CURRENT names is missing or empty", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    await log.close();
    for (const name of ["MANIFEST-000077", "", "MANIFEST-000001"]) {
      await writeFile(join(path, "MANIFEST-000001"), "");
      await writeFile(join(path, "CURRENT"), `${name}\n`);
      await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_GAP" });
    }
  });

  it("refuses a folder that holds another database", async () => {
    const other = new ClassicLevel(path);
    await other.put("\u0000key", "value");
    await other.close();
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it.each([0xff, 0x00])("refuses a log that a later version wrote, whose head is at %i", async (key) => {
    const other = new ClassicLevel<Uint8Array, string>(path, { keyEncoding: "view" });
    await other.put(Uint8Array.of(key), JSON.stringify({ format: 3, id: "x", endsFrom: 1 }));
    await other.close();
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({ code: "LOG_DIFFERENT" });
  });

  it("begins in a folder whose creation was interrupted", async () => {
    await mkdir(path);
    await writeFile(join(path, "LOCK"), "");
    await writeFile(join(path, "MANIFEST-000001"), "");
    const log = await openEmbeddedTxLog({ path });
    expect(await log.exists()).toBe(false);
    await log.create(bytes);
    expect(await log.bounds()).toEqual({ first: 1, last: 1 });
    await log.close();
  });

  it("begins in a database that has no message yet", async () => {
    const empty = new ClassicLevel(path);
    await empty.open();
    await empty.close();
    const log = await openEmbeddedTxLog({ path });
    expect(await log.exists()).toBe(false);
    await log.create(bytes);
    expect(await log.exists()).toBe(true);
    await log.close();
  });

  it("is unreachable when its folder is a file", async () => {
    await writeFile(path, "");
    await expect(openEmbeddedTxLog({ path })).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: new RegExp(path),
    });
  });
});
