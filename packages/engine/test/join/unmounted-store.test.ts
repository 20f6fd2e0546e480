import { access, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { startNode } from "@cairn/node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

/** A volume, other than the disk, to which every user of a Linux machine may write. */
const VOLUME = "/dev/shm";

async function write(node: CairnNode, value: number): Promise<void> {
  const { txId } = await node.submit({ ops: [["put", "things", "a", value]] });
  await node.await(txId);
}

it(
  "a node saves nothing into the mount point of an unmounted store, and does not join as if there were no checkpoint",
  { tags: "rest/slow" },
  async () => {
    await access(VOLUME);
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-unmounted-"));
    const volume = await mkdtemp(path.join(VOLUME, "cairn-unmounted-"));
    onTestFinished(async () => {
      await rm(folder, { recursive: true, force: true });
      await rm(volume, { recursive: true, force: true });
    });
    const mountPoint = path.join(folder, "mnt");
    const env = {
      CAIRN_NODE_ID: "n",
      CAIRN_DIR: path.join(folder, "data"),
      CAIRN_CHECKPOINT_PATH: mountPoint,
    };
    const start = async (): Promise<CairnNode> => {
      const node = await startNode({ "cairn/http-server": null }, { env, cwd: folder });
      onTestFinished(() => node.close());
      return node;
    };
    await symlink(volume, mountPoint);
    const first = await start();
    await first.ready;
    await write(first, 1);
    await saveCheckpoint(first);
    await first.close();
    expect((await readdir(volume)).filter((name) => name.startsWith("checkpoint-2-"))).toHaveLength(2);

    await rm(mountPoint);
    await mkdir(mountPoint);
    const unmounted = await start();
    await unmounted.ready;
    await write(unmounted, 2);
    await expect(unmounted.checkpoint().done).rejects.toMatchObject({
      code: "STORE_UNREACHABLE",
      message: expect.stringContaining("is not mounted there"),
    });
    await unmounted.close();

    await rm(path.join(folder, "data", "n-index", "live"), { recursive: true });
    const joining = await start();
    await vi.waitFor(
      async () => expect((await joining.status()).failure).toMatchObject({ code: "STORE_UNREACHABLE" }),
      { timeout: 30_000 },
    );
    expect(joining.phase).toBe("restoring");
    expect(await readdir(mountPoint)).toEqual([]);

    await rm(mountPoint, { recursive: true });
    await symlink(volume, mountPoint);
    await joining.ready;
    expect((await joining.status()).join).toMatchObject({ restoredFrom: { txId: 2 }, replayed: 1 });
  },
);
