// @module-tag nats
import { cp, mkdir, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { startNatsServer } from "@cairn/log-nats/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCheckpoint, NodeProcess, runCairn } from "@cairn/test-support/cairn-process";
import { mountSmallDisk } from "@cairn/test-support/small-disk";
import { newestArchive } from "@cairn/test-support/watched-store";

let folder = "";
let started: NodeProcess[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-bad-"));
});
afterEach(async () => {
  await Promise.all(started.map((node) => node.kill()));
  started = [];
  await rm(folder, { recursive: true, force: true });
});

function start(env: NodeJS.ProcessEnv = {}, args: readonly string[] = []): NodeProcess {
  const node = NodeProcess.start({ id: "n", dir: folder, env, args });
  started.push(node);
  return node;
}

async function put(node: NodeProcess, name: string, document: unknown): Promise<Response> {
  return await fetch(`${await node.url()}/api/v1/things/default/${name}`, {
    method: "PUT",
    body: JSON.stringify(document),
  });
}

/** Runs a `cairn start` that is expected to exit with an error. */
async function refusedStart(env: NodeJS.ProcessEnv, args: readonly string[] = []) {
  return await runCairn(["start", ...args], {
    env: { CAIRN_NODE_ID: "n", CAIRN_DIR: folder, CAIRN_HTTP_PORT: "0", ...env },
    cwd: folder,
  });
}

describe("a node with unusable input", () => {
  it("exits with PORT_IN_USE and a hint if its port is in use", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const { code, stderr } = await refusedStart({ CAIRN_HTTP_PORT: String(port) });
    server.close();
    expect(stderr).toMatch(/^PORT_IN_USE: .*\n {2}hint: /m);
    expect(code).toBe(3);
  });

  it("exits with INDEX_LOCKED if another process has its index open, and names the process", async () => {
    const node = start();
    await node.ready();
    const { code, stderr } = await refusedStart({});
    expect(stderr).toMatch(/INDEX_LOCKED: .* in use by process \d+\.\n {2}hint: /);
    expect(code).toBe(3);
    expect((await put(node, "a", 1)).status).toBe(201);
  });

  it.each([
    ["broken.edn", '{:cairn/node {:id "x"', "CONFIG_SYNTAX"],
    ["broken.json", '{"cairn/node": {"id": "x",}}', "CONFIG_SYNTAX"],
    ["wrong.json", '{"cairn/http-server": {"prot": 1}}', "CONFIG_INVALID"],
  ])("rejects the broken configuration %s before it creates anything", async (name, text, errorCode) => {
    await writeFile(path.join(folder, name), text);
    const { code, stderr } = await refusedStart({}, ["-f", name]);
    expect(stderr).toContain(errorCode);
    expect(stderr).toMatch(new RegExp(`${name}:1:\\d+`));
    expect(code).toBe(2);
    expect(await readdir(folder)).toEqual([name]);
  });

  it(
    "reports that its log is unreachable, and joins once the log can be reached",
    { tags: "rest/slow" },
    async () => {
      const nats = await startNatsServer();
      await nats.stop();
      const node = start({ NATS_URL: nats.url });
      const url = await node.url();
      expect((await fetch(`${url}/health/live`)).status).toBe(200);
      expect((await fetch(`${url}/health/ready`)).status).toBe(503);
      expect((await node.status()).log).toMatchObject({ reachable: false });
      const refused = await put(node, "a", 1);
      expect(refused.status).toBe(503);
      expect(await refused.json()).toMatchObject({ error: { code: "NOT_READY", hint: expect.any(String) } });
      try {
        await nats.start();
        await node.ready();
        expect((await put(node, "a", 1)).status).toBe(201);
      } finally {
        await nats.close();
      }
    },
  );

  it(
    "moves a half-written index to quarantine and rebuilds it completely",
    { tags: "rest/slow" },
    async () => {
      const node = start();
      await node.ready();
      for (let n = 0; n < 50; n += 1) await put(node, `k${n}`, n);
      const digest = await node.digest();
      await node.stop();
      const live = path.join(folder, "n-index", "live");
      const manifest = (await readdir(live)).find((name) => name.startsWith("MANIFEST")) ?? "";
      await truncate(path.join(live, manifest), 10);
      const again = start();
      await again.ready();
      expect(await again.digest()).toEqual(digest);
      expect((await again.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
    },
  );

  it(
    "skips foreign, damaged and truncated files in the checkpoint store, and reports the checkpoints",
    { tags: "rest/slow" },
    async () => {
      const node = start();
      await node.ready();
      for (let n = 0; n < 50; n += 1) await put(node, `k${n}`, n);
      const url = await node.url();
      expect((await createCheckpoint(url)).stderr).toBe("");
      await put(node, "last", 1);
      expect((await createCheckpoint(url)).stderr).toBe("");
      const digest = await node.digest();
      await node.stop();

      const store = path.join(folder, "checkpoints");
      await truncate(path.join(store, newestArchive(store)), 1_000);
      await writeFile(path.join(store, "checkpoint-99-2026-01-01T00-00-00.000Z-00000000.json"), "not json");
      await writeFile(path.join(store, "checkpoint-hello.json"), "{}");
      await mkdir(path.join(store, "a folder"));
      await rm(path.join(folder, "n-index"), { recursive: true });

      const again = start();
      await again.ready();
      const { join } = await again.status();
      expect(join.restoredFrom).not.toBeNull();
      expect(join.skipped.map(({ code }) => code).toSorted()).toEqual([
        "CHECKPOINT_CORRUPT",
        "CHECKPOINT_INCOMPLETE",
      ]);
      expect(await again.digest()).toEqual(digest);
    },
  );

  it(
    "reports DISK_FULL when its disk is full, and continues automatically once there is space",
    { tags: ["rest/slow", "rest/root"] },
    async () => {
      const disk = await mountSmallDisk(path.join(folder, "small"), 24);
      try {
        const node = start({ CAIRN_INDEX_PATH: path.join(disk.path, "index") });
        await node.ready();
        const ballast = path.join(disk.path, "ballast");
        await writeFile(ballast, Buffer.alloc(14 * 1024 * 1024, 1));
        const big = "x".repeat(500_000);
        let stored = 0;
        // The log still has space, so acknowledged writes are safe even if this node cannot index them now.
        for (let n = 0; n < 60 && (await node.status()).phase !== "failed"; n += 1) {
          const response = await fetch(`${await node.url()}/api/v1/things/default/b${n}?await=false`, {
            method: "PUT",
            body: JSON.stringify(`${n} ${big.slice(0, 400_000)}${Math.random()}`),
          });
          if (response.status === 202) stored += 1;
        }
        await expect
          .poll(async () => (await node.status()).failure?.code, { timeout: 30_000 })
          .toBe("DISK_FULL");
        expect((await fetch(`${await node.url()}/health/live`)).status).toBe(200);
        expect((await fetch(`${await node.url()}/health/ready`)).status).toBe(503);
        await rm(ballast);
        await rm(path.join(disk.path, "index", "quarantine"), { recursive: true, force: true });
        await node.ready();
        expect((await node.status()).index.documents).toBe(stored);
      } finally {
        await Promise.all(started.map((node) => node.kill()));
        await disk.unmount();
      }
    },
  );

  it(
    "exits with 3 and DISK_FULL when its disk is full at the start, and starts once there is space",
    { tags: ["rest/slow", "rest/root"] },
    async () => {
      const disk = await mountSmallDisk(path.join(folder, "small"), 4);
      const ballast = path.join(disk.path, "ballast");
      const env = { CAIRN_INDEX_PATH: path.join(disk.path, "index") };
      try {
        await expect(writeFile(ballast, Buffer.alloc(8 * 1024 * 1024, 1))).rejects.toMatchObject({
          code: "ENOSPC",
        });
        const { code, stderr } = await refusedStart(env);
        expect(code).toBe(3);
        expect(stderr).toMatch(
          /^DISK_FULL: The node did not start\. .*\n {2}hint: Free some space, and start the node again\./m,
        );
        expect(stderr).not.toContain("by itself");
        await rm(ballast);
        const node = start(env);
        await node.ready();
        expect((await put(node, "a", 1)).status).toBe(201);
      } finally {
        await Promise.all(started.map((node) => node.kill()));
        await disk.unmount();
      }
    },
  );

  it(
    "starts from a copy of a complete data folder, without the original",
    { tags: "rest/slow" },
    async () => {
      const node = start();
      await node.ready();
      await put(node, "a", 1);
      const digest = await node.digest();
      await node.stop();
      const copy = path.join(folder, "copy");
      for (const name of ["n-log", "n-index", "checkpoints"]) {
        await cp(path.join(folder, name), path.join(copy, name), { recursive: true }).catch(() => undefined);
      }
      const other = NodeProcess.start({ id: "n", dir: copy });
      started.push(other);
      await other.ready();
      expect(await other.digest()).toEqual(digest);
    },
  );
});
