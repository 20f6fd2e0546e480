// @module-tag nats
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { newIdentity } from "@cairn/checkpoint/testing";
import { encodeTransaction } from "@cairn/engine/src/transactions/transaction-codec";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CAIRN, type CommandResult, createCheckpoint, NodeProcess } from "@cairn/test-support/cairn-process";
import { newestArchive } from "@cairn/test-support/watched-store";

let folder = "";
let nats: NatsTestServer;
let nodes: NodeProcess[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-lost-log-"));
  for (const name of ["bin", "work"]) await mkdir(path.join(folder, name));
  const program = path.join(folder, "bin", "cairn");
  await writeFile(program, `#!/bin/sh\nexec "${process.execPath}" "${CAIRN}" "$@"\n`);
  await chmod(program, 0o755);
  nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
});
afterEach(async () => {
  await Promise.all([...nodes.map((node) => node.kill()), nats.close()]);
  nodes = [];
  await rm(folder, { recursive: true, force: true });
});

/** The environment of nodes and commands: only the configuration file in `work` names the store. */
function environment(): NodeJS.ProcessEnv {
  const { PATH = "" } = process.env;
  return { PATH: `${path.join(folder, "bin")}:${PATH}`, HOME: folder, NATS_URL: nats.url };
}

/** Runs a command as it is printed, in a shell, in a folder that has nothing to do with the cluster. */
async function shell(command: string, cwd = "/"): Promise<CommandResult> {
  const child = spawn("bash", ["-c", command], { cwd, env: environment() });
  const [stdout, stderr] = [[], []] as [Buffer[], Buffer[]];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

function start(id: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): NodeProcess {
  const cwd = path.join(folder, "work");
  const node = NodeProcess.start({ id, dir: path.join(cwd, "cairn-data"), cwd, args, env });
  nodes.push(node);
  return node;
}

async function fill(node: NodeProcess, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n += 1) {
    const body = JSON.stringify({ ops: [["put", "things", `k${n}`, n]] });
    const { status } = await fetch(`${await node.url()}/api/v1/tx?await=true`, { method: "POST", body });
    expect(status).toBe(200);
  }
}

async function failureOf(node: NodeProcess): Promise<{ message: string; hint: string }> {
  return await vi.waitFor(
    async () => {
      const { phase, failure } = await node.status();
      expect(phase).toBe("failed");
      return { message: failure?.message ?? "", hint: failure?.hint ?? "" };
    },
    { timeout: 60_000, interval: 100 },
  );
}

function withoutEnvironment(command = ""): string {
  return command.replaceAll(/[A-Z_]+=\S+ /g, "");
}

/** Returns the command in the first hint; the others have the same one, each with the environment that it was given. */
function commandIn(hints: readonly string[]): string {
  const commands = hints.map((hint) =>
    /run ((?:cd \S+ && )?(?:[A-Z_]+=\S+ )*cairn log recover.*?), which begins/s.exec(hint),
  );
  const [command = "", ...others] = commands.map((found) => found?.[1]?.replaceAll(/\s+/g, " "));
  for (const other of others) expect(withoutEnvironment(other)).toBe(withoutEnvironment(command));
  expect(command).toContain(` -f ${path.join(folder, "work", "cluster.json")}`);
  return command;
}

describe("a log of two checkpoints, the newest of which is damaged, was lost", () => {
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "checkpoints" },
    "approx-frequency": "PT6H",
  };
  let node: NodeProcess;
  beforeEach(async () => {
    const kvStore = { "cairn/module": "cairn.leveldb/->kv-store", checkpointer };
    const config = JSON.stringify({ "cairn/index-store": { "kv-store": kvStore } });
    await writeFile(path.join(folder, "work", "cluster.json"), config);
    node = start("a", ["-f", "cluster.json"], { NATS_URL: nats.url });
    await node.ready();
    for (const [from, to] of [
      [1, 3],
      [4, 6],
    ] as const) {
      await fill(node, from, to);
      await createCheckpoint(await node.url());
    }
    const store = path.join(folder, "work", "checkpoints");
    const archive = await open(path.join(store, newestArchive(store)), "r+");
    await archive.write(Buffer.alloc(16, 0xa5), 0, 16, 4_096);
    await archive.close();
  });

  async function loseLog(): Promise<readonly string[]> {
    await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
    const { hint } = await failureOf(node);
    const status = await shell("cairn log status -f cluster.json", path.join(folder, "work"));
    expect(status.code).toBe(1);
    const shown = await shell(`cairn status --url ${await node.url()}`);
    return [hint, shown.stdout, status.stderr];
  }

  /** All six documents and no orphans, or the three of the older checkpoint and three orphans. */
  async function expectRecovered(documents: number): Promise<void> {
    await vi.waitFor(async () => expect((await node.status()).phase).toBe("ready"), {
      timeout: 60_000,
      interval: 100,
    });
    const { index, join } = await node.status();
    expect(index.documents).toBe(documents);
    expect(join.orphans).toBe(6 - documents);
  }

  it(
    "every hint names a command that continues from the node's index, in any folder, and loses nothing",
    { tags: "rest/slow" },
    async () => {
      const verified = await shell("cairn checkpoint verify -f cluster.json", path.join(folder, "work"));
      expect(verified.stderr).toContain("CHECKPOINT_CORRUPT");
      const [hint = "", shown = "", known = ""] = await loseLog();
      // This command does not know the node, whose id is in the node's environment alone.
      expect(known.replaceAll(/\s+/g, " ")).toContain(
        "follow the hint in the status of node a on its machine",
      );
      const hints = [hint, shown];
      for (const one of hints)
        expect(one.replaceAll(/\s+/g, " ")).toContain("after transaction 7, from the index of this node;");
      const command = commandIn(hints);
      const planned = await shell(`${command} --dry-run`);
      expect(planned).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/continues after transaction 7: from the index in \S+a-index\/live\n$/),
      });
      // The user's shell does not have the node's environment.
      const recovered = await shell(`unset NATS_URL; ${command}`);
      expect(recovered).toMatchObject({ code: 0, stderr: "" });
      expect(recovered.stdout).toContain("which continues after transaction 7 ");
      await expectRecovered(6);
      // A node that has nothing joins over the seam with the checkpoint that the command saved and verified, or with the
      // first one that a node saves of the new log, if that was sooner.
      const joined = start("b", ["-f", "cluster.json"], { NATS_URL: nats.url });
      await joined.ready();
      const { index, join } = await joined.status();
      expect(join.restoredFrom?.txId).toBeGreaterThanOrEqual(7);
      expect(index.documents).toBe(6);
    },
  );

  it(
    "without an index, the command finds damage, marks it, says what an older one leaves behind, and then uses it",
    { tags: "rest/slow" },
    async () => {
      await loseLog();
      const command = `CAIRN_NODE_ID=b CAIRN_DIR=${folder}/elsewhere cairn log recover -f cluster.json`;
      const refused = await shell(command, path.join(folder, "work"));
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(
        /^notice: checkpoint-7-\S+ cannot be used, and is passed over: CHECKPOINT_CORRUPT: /,
      );
      expect(refused.stderr.replaceAll(/\s+/g, " ")).toMatch(
        /CONFLICT: .* would lack 3 transactions .*: the store shows transactions up to 7; the index of node a \(failed\) holds transactions up to 7\..*add --yes/,
      );
      const names = await readdir(path.join(folder, "work", "checkpoints"));
      expect(names).toContainEqual(expect.stringMatching(/^checkpoint-7-.*\.damaged\.json$/));
      const planned = await shell(`${command} --dry-run`, path.join(folder, "work"));
      expect(planned).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("3 transactions after it are known but not in the new log"),
        stderr: expect.stringContaining("would be refused now"),
      });
      const recovered = await shell(`${command} --yes`, path.join(folder, "work"));
      expect(recovered.code).toBe(0);
      expect(recovered.stdout).toContain("which continues after transaction 4 ");
      await expectRecovered(3);
    },
  );
});

describe("a log that is lost before its first checkpoint", () => {
  it(
    "is not begun again by a new node while others hold its transactions, and is continued from their indexes",
    { tags: "rest/slow" },
    async () => {
      const env = { NATS_URL: nats.url };
      const [a, b] = [start("a", [], env), start("b", [], env)];
      await Promise.all([a.ready(), b.ready()]);
      await fill(a, 1, 5);
      await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
      await Promise.all([failureOf(a), failureOf(b)]);
      const elsewhere = await mkdtemp(path.join(folder, "elsewhere-"));
      const c = NodeProcess.start({ id: "c", dir: elsewhere, env });
      nodes.push(c);
      const { message, hint } = await failureOf(c);
      for (const id of ["a", "b"])
        expect(message).toContain(`the index of node ${id} (failed) holds transactions up to 6`);
      expect(hint).toMatch(/follow the hint in the status of node [ab] on its machine/);
      for (const command of ["status", "create"]) {
        const { code, stderr } = await shell(`CAIRN_DIR=${elsewhere} cairn log ${command}`);
        expect({ code, stderr }).toEqual({
          code: 1,
          stderr: expect.stringContaining("the index of node a (failed)"),
        });
      }
      // The hint is followed: nothing is lost, although there was no checkpoint.
      const command = /run (.*?), which begins/.exec((await failureOf(a)).hint)?.[1] ?? "";
      expect(await shell(command)).toMatchObject({ code: 0, stderr: "" });
      await c.kill();
      const store = path.join(folder, "work", "cairn-data", "checkpoints");
      const again = NodeProcess.start({
        id: "c",
        dir: elsewhere,
        env: { ...env, CAIRN_CHECKPOINT_PATH: store },
      });
      nodes.push(again);
      for (const node of [a, b, again]) {
        await vi.waitFor(
          async () => expect((await node.status()).failure ?? (await node.status()).phase).toBe("ready"),
          { timeout: 60_000, interval: 100 },
        );
        expect((await node.status()).index.documents).toBe(5);
      }
    },
  );

  it.each(["is gone", "begins with a transaction"])(
    "can be begun again empty by a person if its stream %s, and the orphans of each node loaded into it",
    { tags: "rest/slow" },
    async (state) => {
      const env = { NATS_URL: nats.url };
      const a = start("a", [], env);
      await a.ready();
      await fill(a, 1, 5);
      const early = encodeTransaction({ ops: [["put", "things", "default/k9", 9]] }, "previous");
      await NatsOperator.at(nats.url, async (operator) => {
        await operator.deleteStream();
        if (state !== "is gone") await operator.makeForeignStream([Buffer.from(early).toString()]);
      });
      const { hint } = await failureOf(a);
      expect(hint).toContain("cairn log create --empty");
      if (hint.includes("nats stream rm cairn"))
        await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
      expect((await shell("cairn log create --empty")).code).toBe(0);
      const replaced =
        /replaced on purpose, set ("on-log-mismatch": \{"different": "rebuild"\}) in (\S+), .*`(.*cairn log orphans.*? --log \S+)`/;
      await vi.waitFor(async () => expect((await failureOf(a)).hint).toMatch(replaced), {
        timeout: 60_000,
        interval: 100,
      });
      const [, setting = "", key = "", print = ""] = replaced.exec((await failureOf(a)).hint) ?? [];
      await a.stop();
      const again = start("a", ["-j", `{"${key}": {${setting}}}`], env);
      await again.ready();
      // Without the id of the node, nothing is known, which is not the same as nothing being lost.
      expect(await shell("cairn log orphans")).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("NOT_FOUND: There is no index of node"),
      });
      expect((await shell(`${print} > ${folder}/orphans.ndjson`)).code).toBe(0);
      const loaded = await shell(`cairn load ${folder}/orphans.ndjson --await --url ${await again.url()}`);
      expect(loaded.code).toBe(0);
      expect((await again.status()).index.documents).toBe(5);
    },
  );
});

describe("a log whose end was lost, but is in a checkpoint", () => {
  it(
    "is kept as it is once a checkpoint of it was saved and the other one was removed, however many are to be retained",
    { tags: "rest/slow" },
    async () => {
      const checkpointer = {
        "cairn/module": "cairn.checkpoint/->checkpointer",
        store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "checkpoints" },
        "approx-frequency": "PT6H",
        "retention-policy": { "retain-at-least": 3 },
      };
      const config = { "cairn/index-store": { "kv-store": { checkpointer } } };
      await writeFile(path.join(folder, "work", "cluster.json"), JSON.stringify(config));
      const node = start("a", ["-f", "cluster.json"], { NATS_URL: nats.url });
      await node.ready();
      await fill(node, 1, 3);
      const [server, copy] = [path.join(folder, "nats"), path.join(folder, "older")];
      await nats.stop();
      await cp(server, copy, { recursive: true });
      await nats.start();
      await fill(node, 4, 6);
      await createCheckpoint(await node.url());
      await node.stop();
      await nats.stop();
      await rm(server, { recursive: true });
      await cp(copy, server, { recursive: true });
      await nats.start();
      const again = start("a", ["-f", "cluster.json"], { NATS_URL: nats.url });
      await again.ready();
      const warnings = async (): Promise<readonly string[]> =>
        (await again.status()).log.warnings.map(({ hint }) => hint ?? "");
      const [hint = ""] = await vi.waitFor(
        async () => {
          const found = await warnings();
          expect(found).toHaveLength(1);
          return found;
        },
        { timeout: 60_000, interval: 100 },
      );
      const kept =
        /To keep the log as it is, save a checkpoint \((.*?)\), and remove the others with (.* --lost)$/;
      const [, create = "", prune = ""] = kept.exec(hint) ?? [];
      expect(await shell(create.replace("URL", await again.url()))).toMatchObject({ code: 0, stderr: "" });
      const pruned = await shell(prune);
      expect(pruned).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^removed 1 entry, .*; 1 stay/m),
      });
      await vi.waitFor(async () => expect(await warnings()).toEqual([]), { timeout: 60_000, interval: 100 });
    },
  );
});

/** Writes a configuration whose checkpointer has these settings beside its store. */
async function configureCheckpointer(settings: object): Promise<void> {
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "checkpoints" },
    "approx-frequency": "PT6H",
    ...settings,
  };
  const kvStore = { "cairn/module": "cairn.leveldb/->kv-store", checkpointer };
  await writeFile(
    path.join(folder, "work", "cluster.json"),
    JSON.stringify({ "cairn/index-store": { "kv-store": kvStore } }),
  );
}

async function makeKey(): Promise<void> {
  await writeFile(path.join(folder, "work", "cairn.key"), `${newIdentity()}\n`);
}

function startConfigured(): NodeProcess {
  return start("a", ["-f", "cluster.json"], { NATS_URL: nats.url });
}

describe("a log that was lost with the key of its checkpoints", () => {
  it(
    "is continued from the node's index once the files that nothing can read are out of the store",
    { tags: "rest/slow" },
    async () => {
      const work = path.join(folder, "work");
      await configureCheckpointer({ encryption: { "key-file": "cairn.key" } });
      await makeKey();
      const node = startConfigured();
      await node.ready();
      await fill(node, 1, 3);
      await createCheckpoint(await node.url());
      await node.stop();
      await makeKey();
      await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
      const again = startConfigured();
      const { hint } = await failureOf(again);
      expect(hint).toContain(
        "If the key was lost as well, move the files that need it out of the store, and then run ",
      );
      const moved = await shell(`mkdir ${folder}/elsewhere && mv ${work}/checkpoints/* ${folder}/elsewhere/`);
      expect(moved.code).toBe(0);
      const recovered = await shell(commandIn([hint]));
      expect(recovered).toMatchObject({ code: 0 });
      await again.ready();
      expect((await again.status()).index.documents).toBe(3);
    },
  );

  it(
    "is continued from a backup with plain and encrypted segments once the key is configured again",
    { tags: "rest/slow" },
    async () => {
      const backup = { "log-backup": { every: "PT0.3S" } };
      const keys = { encryption: { "key-file": "cairn.key", "accept-plain?": true } };
      await makeKey();
      for (const [settings, from] of [
        [backup, 1],
        [{ ...backup, ...keys }, 4],
      ] as const) {
        await configureCheckpointer(settings);
        const node = startConfigured();
        await node.ready();
        await fill(node, from, from + 2);
        const { txId } = (await node.status()).index;
        const backedUp = async () => (await node.status()).logBackup?.covered?.at(-1)?.last;
        await expect.poll(backedUp, { timeout: 20_000 }).toBe(txId);
        await node.stop();
      }
      await configureCheckpointer(backup);
      await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
      const keyless = startConfigured();
      expect((await failureOf(keyless)).hint).toContain(
        "what the stores hold could not be read (KEY_MISSING: ",
      );
      await keyless.stop();
      await configureCheckpointer({ ...backup, ...keys });
      const again = startConfigured();
      const { hint } = await failureOf(again);
      expect(await shell(commandIn([hint]))).toMatchObject({ code: 0 });
      await again.ready();
      expect((await again.status()).index.documents).toBe(6);
    },
  );
});

describe("a node whose log was given another name", () => {
  it(
    "says of which log its index is, and how a log of the new name continues it",
    { tags: "rest/slow" },
    async () => {
      const work = path.join(folder, "work");
      const configure = async (stream: string): Promise<void> => {
        const log = { "cairn/module": "cairn.nats/->tx-log", stream };
        await writeFile(path.join(work, "cluster.json"), JSON.stringify({ "cairn/tx-log": log }));
      };
      await configure("one");
      const first = start("a", ["-f", "cluster.json"], { NATS_URL: nats.url });
      await first.ready();
      await fill(first, 1, 3);
      await first.stop();
      await configure("two");
      const renamed = start("a", ["-f", "cluster.json"], { NATS_URL: nats.url });
      const { message, hint } = await failureOf(renamed);
      expect(message).toContain('the local index holds transactions up to 4 of the log "one"');
      expect(hint).toContain('configure its name, "one", again');
      expect((await renamed.status()).log).toMatchObject({ name: "two", id: null, exists: false });
      const recovered = await shell(commandIn([hint]));
      expect(recovered).toMatchObject({ code: 0 });
      await renamed.ready();
      expect((await renamed.status()).index.documents).toBe(3);
    },
  );
});

describe("a node whose host was renamed", () => {
  it("does not begin a second log next to the one that it had, and continues under its former id", async () => {
    const first = start("aaa");
    await first.ready();
    await fill(first, 1, 3);
    await first.stop();
    const renamed = start("bbb");
    const { message, hint } = await failureOf(renamed);
    expect(message).toMatch(/aaa-log of node aaa holds transactions up to 4/);
    expect(hint).toContain("set CAIRN_NODE_ID=aaa");
    await renamed.kill();
    const again = start("aaa");
    await again.ready();
    expect((await again.status()).index.documents).toBe(3);
    await again.stop();
    const created = await shell(
      "CAIRN_NODE_ID=bbb NATS_URL= cairn log create --empty",
      path.join(folder, "work"),
    );
    expect(created.code).toBe(0);
    const second = start("bbb");
    await second.ready();
    expect((await second.status()).index.documents).toBe(0);
  });
});
