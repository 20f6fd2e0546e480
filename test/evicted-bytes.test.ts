// @module-tag nats
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { filesWith, token } from "@cairn/kv/testing";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  CAIRN,
  fixtureConfig,
  NodeProcess,
  ROOT,
  runCairnOrThrow,
  saveCheckpoint,
} from "@cairn/test-support/cairn-process";
import { fencedBlocks } from "@cairn/test-support/readme-blocks";

interface EvictionReport {
  readonly txId: number;
  readonly log: { readonly firstTxId: number } | null;
  readonly segments: readonly string[];
  readonly files: { readonly goneSince: string | null; readonly waitsFor: string | null };
  readonly checkpoints: readonly string[];
  readonly inFilesOf: readonly string[];
  readonly firstWithout: string | null;
}

let folder = "";
let nats: NatsTestServer;
const nodes: NodeProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-evicted-"));
  nats = await startNatsServer({ storeDir: path.join(folder, "nats") });
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.kill()));
  await nats.close();
  await rm(folder, { recursive: true, force: true });
});

async function startReady(
  id: string,
  config = fixtureConfig("crux.edn"),
): Promise<{ node: NodeProcess; url: string }> {
  const env = { NATS_URL: nats.url, CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints") };
  const node = NodeProcess.start({ id, dir: folder, args: ["-f", config], env });
  nodes.push(node);
  await node.ready();
  return { node, url: await node.url() };
}

async function write(url: string, ...transactions: (readonly unknown[])[]): Promise<void> {
  const lines = transactions.map((ops) => `${JSON.stringify({ ops })}\n`);
  await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: Readable.from(lines) });
}

async function evictions(url: string): Promise<EvictionReport[]> {
  const { stdout } = await runCairnOrThrow(["evictions", "--json", "--url", url]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as EvictionReport);
}

/** Returns the elements of `tokens` that occur in a file below a folder of the test. */
async function findTokens(place: string, tokens: readonly string[]): Promise<string[]> {
  const hits: string[] = [];
  for (const one of tokens) {
    if ((await filesWith(path.join(folder, place), one)).length > 0) hits.push(one);
  }
  return hits;
}

async function unpack(checkpoint: string): Promise<string> {
  const place = `unpacked-${checkpoint}`;
  const from = path.join(folder, "checkpoints", checkpoint);
  await runCairnOrThrow(["checkpoint", "restore", from, "-o", path.join(folder, place)]);
  return place;
}

const filler = (count: number): (readonly unknown[])[] =>
  Array.from({ length: count }, (_, at) => [
    ["put", "vault", `default/other-${at}`, { owner: `owner-${at}`, body: token() }],
  ]);

describe("after the commands of docs/log-backup.md, in their order, evicted bytes are nowhere", () => {
  let config = "";
  let url = "";
  const secret = token();

  beforeEach(async () => {
    config = path.join(folder, "cairn.json");
    const place = {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: path.join(folder, "checkpoints"),
      "shared-store": true,
    };
    const log = { "cairn/module": "cairn.nats/->tx-log", servers: nats.url, trim: { keep: "P3D" } };
    const checkpointer = { store: place, "approx-frequency": "PT6H", "log-backup": { every: "PT1S" } };
    await writeFile(
      config,
      JSON.stringify({ "cairn/tx-log": log, "cairn/index-store": { "kv-store": { checkpointer } } }),
    );
    ({ url } = await startReady("a", config));
    await write(url, ...filler(5), [["put", "vault", "default/s", { secret }]]);
    await runCairnOrThrow(["checkpoint", "verify", await saveCheckpoint(url), "--url", url]);
    await write(url, ...filler(5));
    await backedUp();
  });

  async function backedUp(): Promise<void> {
    await expect
      .poll(async () => (await runCairnOrThrow(["log", "backup", "status", "--url", url])).stdout, {
        timeout: 30_000,
      })
      .toMatch(/Exposed +nothing/);
  }

  async function evict(): Promise<EvictionReport | undefined> {
    await write(url, [["evict", "vault", "default/s"]]);
    await backedUp();
    return (await evictions(url))[0];
  }

  /** Runs the page's commands, and instead of its prune of the backup the one that `cairn evictions` prints. */
  async function follow(alsoPruned: readonly string[] = []): Promise<void> {
    const blocks = await fencedBlocks(path.join(ROOT, "docs/log-backup.md"));
    const commands = blocks
      .find(({ text }) => text.includes("checkpoint prune"))
      ?.text.trim()
      .split("\n");
    expect(commands).toHaveLength(6);
    const { stderr } = await runCairnOrThrow(["evictions", "--url", url]);
    const [, printed = ""] = /run (.*cairn log backup prune .*)/.exec(stderr) ?? [];
    expect(printed).toContain(`-f ${config} `);
    for (const command of commands ?? []) {
      if (command.startsWith("cairn log backup prune")) {
        const shell = `cairn() { "${process.execPath}" "${CAIRN}" "$@"; }; ${printed}`;
        await promisify(execFile)("bash", ["-c", shell]);
        continue;
      }
      const args = command.replace("cairn.json", config).split(" ").slice(1);
      const added = args.includes("prune") ? alsoPruned : [];
      await runCairnOrThrow([...args, ...added, ...(args.includes("-f") ? [] : ["--url", url])]);
    }
    expect((await evictions(url))[0]).toMatchObject({
      files: { goneSince: expect.stringMatching(/^20/) as string },
      log: null,
      checkpoints: [],
      inFilesOf: [],
      segments: [],
      hint: null,
    });
    expect(await findTokens("a-index", [secret])).toEqual([]);
    expect(await findTokens("checkpoints", [secret])).toEqual([]);
  }

  it("and no checkpoint or segment is listed any more", { tags: "rest/slow" }, async () => {
    expect(await evict()).toMatchObject({ log: { firstTxId: 1 }, checkpoints: [expect.any(String)] });
    expect(await findTokens("checkpoints", [secret])).toEqual([secret]);
    await follow();
  });

  it(
    "even if they were written before the log was lost, and evicted from the log that continues it",
    { tags: "rest/slow" },
    async () => {
      await continueLostLog();
      // The new log has one of the two verified checkpoints without which the earlier log is still needed.
      await write(url, ...filler(5));
      await runCairnOrThrow(["checkpoint", "verify", await saveCheckpoint(url), "--url", url]);
      // From now on, only the backup shows which log this one continues.
      await runCairnOrThrow(["log", "trim", "--keep", "PT0S", "-f", config]);
      const { segments = [] } = (await evict()) ?? {};
      expect(new Set(segments.map((name) => name.split("/")[0])).size).toBe(2);
      await follow(["--other-logs"]);
    },
  );

  it("even from what a recovery left behind", { tags: "rest/slow" }, async () => {
    await write(url, ...filler(10), [["put", "vault", "default/s", { secret }]]);
    const abandoned = await saveCheckpoint(url);
    await backedUp();
    await continueLostLog("--at-tx", "10", "--yes");
    // The list does not cover what nodes keep in quarantine.
    await rm(path.join(folder, "a-index/quarantine"), { recursive: true });
    await write(url, ...filler(2));
    for (const action of ["create", "verify"]) await runCairnOrThrow(["checkpoint", action, "--url", url]);
    const { txId = 0, checkpoints, inFilesOf, segments } = (await evict()) ?? {};
    expect(txId).toBeLessThan(23);
    expect([checkpoints, inFilesOf]).toEqual([expect.any(Array), expect.arrayContaining([abandoned])]);
    expect(segments).toEqual(expect.arrayContaining([expect.stringMatching(/-0{14}23-/)]));
    await follow(["--other-logs"]);
  });

  async function continueLostLog(...at: readonly string[]): Promise<void> {
    await nats.stop();
    await rm(path.join(folder, "nats"), { recursive: true });
    await nats.start();
    await runCairnOrThrow(["log", "recover", "-f", config, ...at], { cwd: folder });
    await runCairnOrThrow(["status", "--wait", "PT1M", "--url", url]);
  }
});

it(
  "evicted bytes disappear from the files of an index, and are in no later checkpoint",
  { tags: "rest/slow" },
  async () => {
    const { url } = await startReady("a");
    const secret = token();
    await write(url, ...filler(20), [["put", "vault", "default/s", { secret }]]);
    expect(await findTokens("a-index", [secret])).toEqual([secret]);
    await write(url, [["evict", "vault", "default/s"]]);
    const after = await saveCheckpoint(url);
    expect(await findTokens("a-index", [secret])).toEqual([]);
    expect(await findTokens(await unpack(after), [secret])).toEqual([]);
  },
);

it(
  "evicted bytes are in no file of an index in memory that was loaded from a checkpoint",
  { tags: "rest/slow" },
  async () => {
    const a = await startReady("a");
    const secret = token();
    await write(a.url, [["put", "vault", "default/s", { secret }]], ...filler(5));
    await saveCheckpoint(a.url);
    const config = path.join(folder, "memory.json");
    const store = {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: path.join(folder, "checkpoints"),
    };
    const checkpointer = { "cairn/module": "cairn.checkpoint/->checkpointer", "restore-from": [store] };
    await writeFile(
      config,
      JSON.stringify({
        "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
        "cairn/index-store": { "kv-store": { "cairn/module": "cairn.memory/->kv-store", checkpointer } },
      }),
    );
    const { node, url } = await startReady("m", config);
    expect((await node.status()).join.restoredFrom).not.toBeNull();
    await write(url, [["evict", "vault", "default/s"]]);
    await expect
      .poll(async () => (await evictions(url))[0]?.files.goneSince, { timeout: 30_000 })
      .toEqual(expect.any(String));
    expect(await findTokens("m-index", [secret])).toEqual([]);
  },
);

it(
  "evicted bytes disappear from the files of every index, and are in no later checkpoint, even after kills and joins",
  { tags: "rest/slow" },
  async () => {
    const a = await startReady("a");
    const policies = path.join(folder, "policies.json");
    await writeFile(policies, JSON.stringify({ indexes: { vault: ["secret", "owner"] } }));
    await runCairnOrThrow(["policy", "apply", policies, "--url", a.url]);
    const [first, second, field, earlier] = [token(), token(), token(), token()];
    const secrets = [first, second, field, earlier];
    await write(
      a.url,
      ...filler(300),
      [["put", "vault", "default/s", { secret: earlier, owner: "me", body: first }]],
      ...filler(300),
      [["put", "vault", "default/s", { secret: field, owner: "me", body: second }]],
      [["put", "vault", "default/kept", { secret: "public", owner: "me", body: "kept" }]],
    );
    const before = await saveCheckpoint(a.url);
    // Until the values are evicted, the search finds them in the files of the index and in the checkpoint.
    expect(await findTokens("a-index", secrets)).toEqual(secrets);
    expect(await findTokens(await unpack(before), secrets)).toEqual(secrets);
    await write(a.url, [["evict", "vault", "default/s"]]);
    await a.node.kill();

    // A node that joins from the checkpoint with the evicted values has these values in the files of its index for some
    // seconds.
    const b = await startReady("b");
    const again = await startReady("a");
    const [listed] = await evictions(again.url);
    expect(listed).toMatchObject({ checkpoints: [before], inFilesOf: [], firstWithout: null });
    const left = await findTokens("a-index", secrets);
    expect(listed?.files.goneSince === null || left.length === 0).toBe(true);

    const after = await saveCheckpoint(again.url);
    expect(await findTokens("a-index", secrets)).toEqual([]);
    expect(await findTokens(await unpack(after), secrets)).toEqual([]);
    expect((await evictions(again.url))[0]).toMatchObject({
      files: { goneSince: expect.stringMatching(/^20/) as string, waitsFor: null },
      checkpoints: [before],
      inFilesOf: [],
      firstWithout: after,
    });

    const { stdout: table } = await runCairnOrThrow(["evictions", "--url", again.url]);
    expect(table).toMatch(new RegExp(`default/s +1 to \\d+ +no, since 20\\S+ +${before} +${after}`));

    // Each node overwrites its own files automatically.
    await expect
      .poll(async () => (await evictions(b.url))[0]?.files.waitsFor, { timeout: 60_000 })
      .toBeNull();
    expect(await findTokens("b-index", secrets)).toEqual([]);
    // A node that joins from the later checkpoint never has the evicted values.
    const c = await startReady("c");
    expect(await findTokens("c-index", secrets)).toEqual([]);
    expect((await evictions(c.url))[0]?.files.goneSince).not.toBeNull();
    expect(await c.node.digest()).toEqual(await again.node.digest());
    const { stdout } = await runCairnOrThrow(["list", "vault", "--where", "owner:me", "--url", again.url]);
    expect(stdout).toContain("kept");
    expect(stdout).not.toContain("default/s ");
  },
);
