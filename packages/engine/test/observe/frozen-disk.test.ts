import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import type { CairnError } from "@cairn/kv";
import { startNode } from "@cairn/node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { expect, it, onTestFinished, vi } from "vitest";

const run = promisify(execFile);
const MEGABYTE = 1024 * 1024;
const PATIENT = { timeout: 90_000, interval: 500 };

/** Mounts a small disk that can be frozen: whatever writes to it then hangs, as on a device that does not respond. */
async function freezableDisk(folder: string) {
  const image = path.join(folder, "image");
  const disk = path.join(folder, "disk");
  await writeFile(image, "");
  await truncate(image, 512 * MEGABYTE);
  await run("mkfs.ext4", ["-q", image]);
  await mkdir(disk);
  await run("mount", ["-o", "loop", image, disk]);
  const thaw = async (): Promise<unknown> => await run("fsfreeze", ["-u", disk]);
  onTestFinished(async () => {
    await thaw().catch(() => undefined);
    await run("umount", ["-l", disk]);
  });
  return { disk, freeze: async () => await run("fsfreeze", ["-f", disk]), thaw };
}

it.each([
  { part: "log", finding: { code: "writes-refused", error: "LOG_UNREACHABLE" } },
  { part: "index", finding: { code: "node-stalled", error: null } },
])(
  "the $part on a disk that hangs is reported, with advice about disks, until the disk responds again",
  { tags: "rest/root", timeout: 240_000 },
  async ({ part, finding }) => {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-frozen-disk-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const { disk, freeze, thaw } = await freezableDisk(folder);
    const place = (of: string): string => path.join(of === part ? disk : folder, of);
    const node = await startNode(
      {
        "cairn/node": { id: "a" },
        "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log", path: place("log") },
        "cairn/index-store": {
          "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", "db-dir": place("index") },
        },
        "cairn/http-server": { port: 0 },
      },
      { env: {}, cwd: folder },
    );
    onTestFinished(async () => {
      await thaw().catch(() => undefined);
      await node.close();
    });
    await node.ready;
    const put = async (name: string): Promise<unknown> =>
      await node.submit({ ops: [["put", "things", `default/${name}`, 1]] }, { timeoutMs: 500 });
    const status = async (): Promise<number> =>
      (await cairn(["status", "--url", node.url ?? ""], new CapturedTerminal({ cwd: folder }))).code;
    await put("before");
    expect(await status()).toBe(0);

    await freeze();
    await put("frozen").catch((error: unknown) => expect(error).toMatchObject({ code: "TX_TIMEOUT" }));
    await vi.waitFor(
      async () =>
        expect((await node.status()).findings).toMatchObject([
          { ...finding, severity: "failing", hint: expect.stringMatching(/disk.*fsfreeze -u/) },
        ]),
      PATIENT,
    );
    expect(await status()).toBe(3);
    // What clients have given up on stays in memory, so a log that hangs is given no more.
    const refused = await put("later").then(
      () => null,
      (error: unknown) => (error as CairnError).code,
    );
    expect(refused).toBe(finding.error);

    // Nobody writes, and the finding ends.
    await thaw();
    await vi.waitFor(async () => expect((await node.status()).findings).toEqual([]), PATIENT);
    expect(await status()).toBe(0);
    await put("after");
  },
);
