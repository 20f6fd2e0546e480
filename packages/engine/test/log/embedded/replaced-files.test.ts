import { cp, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import type { TxLog } from "../../../src/log/tx-log.ts";
import { bytes, text } from "../../../testing/log-messages.ts";

let folder = "";
let logs: TxLog[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-replaced-"));
});
afterEach(async () => {
  await Promise.all(logs.map(async (log) => await log.close()));
  logs = [];
  await rm(folder, { recursive: true, force: true });
});

const place = (): string => path.join(folder, "log");

async function opened(at = place()): Promise<TxLog> {
  const log = await openEmbeddedTxLog({ path: at });
  logs.push(log);
  await log.create((id) => bytes(`birth of ${id}`));
  return log;
}

const append = async (log: TxLog, what: string): Promise<number> =>
  (await log.append(bytes(what), { messageId: what })).position;

/** Returns what a process finds that opens the log after this one. */
async function foundAfterwards(log: TxLog, acknowledged: readonly number[]): Promise<(string | undefined)[]> {
  await log.close();
  const again = await openEmbeddedTxLog({ path: place() });
  logs.push(again);
  return await Promise.all(acknowledged.map(async (position) => text(await again.fetch(position))));
}

describe("an embedded log whose files are no longer those that were opened", () => {
  it("acknowledges nothing while its folder is elsewhere, says why, and continues once it is back", async () => {
    const log = await opened();
    const acknowledged = [await append(log, "one")];
    await rename(place(), path.join(folder, "elsewhere"));
    for (const _ of [1, 2])
      await expect(append(log, "two")).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: expect.stringContaining(`${place()}, or files in it, were moved, removed or replaced`),
        hint: expect.stringContaining("move it back"),
      });
    await expect(log.fetch(2)).rejects.toMatchObject({ message: expect.stringContaining("moved, removed") });
    await rename(path.join(folder, "elsewhere"), place());
    acknowledged.push(await append(log, "two"), await append(log, "three"));
    expect(await foundAfterwards(log, acknowledged)).toEqual(["one", "two", "three"]);
  });

  it.each([
    ["an empty folder", async () => void (await mkdir(place()))],
    ["nothing", () => Promise.resolve()],
    [
      "a copy from before its last message",
      async () => await cp(path.join(folder, "copy"), place(), { recursive: true }),
    ],
  ])("acknowledges nothing if the folder was replaced with %s", async (_, replace) => {
    const log = await opened();
    await log.close();
    await cp(place(), path.join(folder, "copy"), { recursive: true });
    const again = await opened();
    await append(again, "one");
    await rm(place(), { recursive: true });
    await replace();
    await expect(append(again, "two")).rejects.toMatchObject({ code: /LOG_UNREACHABLE|LOG_GAP/ });
    await expect(append(again, "three")).rejects.toMatchObject({ code: /LOG_UNREACHABLE|LOG_GAP/ });
  });

  it("acknowledges nothing if the folder was replaced with that of another log", async () => {
    const other = await opened(path.join(folder, "other"));
    for (const what of ["a", "b", "c"]) await append(other, what);
    await other.close();
    const log = await opened();
    await append(log, "one");
    await rm(place(), { recursive: true });
    await rename(path.join(folder, "other"), place());
    await expect(append(log, "two")).rejects.toMatchObject({
      code: "LOG_GAP",
      message: expect.stringContaining("is another one now"),
    });
    expect(await foundAfterwards(log, [4, 5])).toEqual(["c", undefined]);
  });

  it("acknowledges nothing once another process could have opened it, although its lock was only removed", async () => {
    const log = await opened();
    const acknowledged = [await append(log, "one")];
    await rm(path.join(place(), "LOCK"));
    // The log notices it, opens the files again with a lock of their own, and finds what it wrote.
    acknowledged.push(await append(log, "two"));
    expect(await readdir(place())).toContain("LOCK");
    acknowledged.push(await append(log, "three"));
    expect(await log.inspect?.()).toEqual([]);
    expect(await foundAfterwards(log, acknowledged)).toEqual(["one", "two", "three"]);
  });

  it.each(["log", "ldb"])("acknowledges nothing once its files .%s were removed", async (extension) => {
    const log = await opened();
    await append(log, "one");
    // Opening turns the write-ahead log into a table.
    await log.close();
    const again = await opened();
    await append(again, "two");
    const names = (await readdir(place())).filter((name) => name.endsWith(`.${extension}`));
    expect(names).not.toEqual([]);
    for (const name of names) await rm(path.join(place(), name));
    for (const what of ["three", "four"])
      await expect(append(again, what)).rejects.toMatchObject({ code: expect.stringMatching(/^LOG_/) });
    await again.close();
    // Whoever opens it next refuses it, or finds no transaction that was not acknowledged.
    const found = await openEmbeddedTxLog({ path: place() }).catch((error: unknown) => error);
    if (!(found instanceof Error)) {
      logs.push(found as TxLog);
      expect((await (found as TxLog).bounds()).last).toBeLessThanOrEqual(3);
    }
  });

  it("takes no harm from the files that it replaces itself", { timeout: 60_000 }, async () => {
    const log = await opened();
    const large = "x".repeat(200_000);
    for (let n = 0; n < 120; n += 1) await log.append(bytes(`${n} ${large}`));
    expect(await log.inspect?.()).toEqual([]);
    expect((await log.bounds()).last).toBe(121);
  });

  it("reports it when it is inspected, without a write", async () => {
    const log = await opened();
    expect(await log.inspect?.()).toEqual([]);
    await rename(place(), path.join(folder, "elsewhere"));
    expect(await log.inspect?.()).toMatchObject([{ code: "LOG_UNREACHABLE" }]);
  });
});
