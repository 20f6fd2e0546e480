import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { startNatsServer } from "@cairn/node/testing";
import { expect, it, onTestFinished, vi } from "vitest";
import { CAIRN, runCairnOrThrow, NodeProcess } from "./support/cairn-process.ts";

const TRANSACTIONS = 20_000;

async function* lines(): AsyncGenerator<string> {
  for (let from = 0; from < TRANSACTIONS; from += 1_000) {
    let text = "";
    for (let n = from; n < from + 1_000; n += 1)
      text += `{"ops": [["put", "things", "k${n % 5_000}", ${n}]]}\n`;
    yield text;
  }
}

/** Returns the size in bytes of the files in a folder. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(path.join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

it("a rebuild that is killed in the middle publishes nothing, and the next one continues from the partial result", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-rebuild-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const server = await startNatsServer();
  onTestFinished(() => server.close());
  const store = path.join(folder, "checkpoints");
  const env = { NATS_URL: server.url, CAIRN_CHECKPOINT_PATH: path.join(folder, "not-the-operators") };
  const node = NodeProcess.start({ id: "running", dir: path.join(folder, "running"), env });
  onTestFinished(() => node.kill());
  await node.ready();
  await runCairnOrThrow(["load", "-", "--await", "--url", await node.url()], { input: lines() });

  const rebuildEnv = { ...env, CAIRN_CHECKPOINT_PATH: store, CAIRN_DIR: path.join(folder, "operator") };
  const command = ["checkpoint", "create", "--rebuild"];
  const killed = spawn(process.execPath, [CAIRN, ...command], {
    env: { ...process.env, ...rebuildEnv },
    stdio: "ignore",
  });
  const closed = once(killed, "close");
  const live = path.join(folder, "operator", "rebuild", "live");
  await vi.waitFor(async () => expect(await bytesIn(live)).toBeGreaterThan(200_000), {
    timeout: 30_000,
    interval: 5,
  });
  killed.kill("SIGKILL");
  await closed;
  expect((await listCheckpoints(filesystemStore({ path: store }))).checkpoints).toEqual([]);

  const { stdout } = await runCairnOrThrow(command, { env: rebuildEnv });
  expect(stdout).toMatch(
    /^rebuilt 20,001 transactions of the log cairn, resumed after transaction [\d,]+; saved checkpoint-20001-/,
  );
  const verified = await runCairnOrThrow(["checkpoint", "verify", store, "--json"]);
  expect(JSON.parse(verified.stdout)).toMatchObject({ digest: (await node.digest()).digest });
  expect(await readdir(path.join(folder, "operator"))).toEqual([]);
});
