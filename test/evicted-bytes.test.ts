import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { filesWith, token } from "@cairn/kv/testing";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { mustCairn, NodeProcess, seedConfig } from "./support/cairn-process.ts";

interface Told {
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
  nats = await startNatsServer();
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.kill()));
  await nats.close();
  await rm(folder, { recursive: true, force: true });
});

async function started(id: string): Promise<{ node: NodeProcess; url: string }> {
  const env = { NATS_URL: nats.url, CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints") };
  const node = NodeProcess.start({ id, dir: folder, args: ["-f", seedConfig("crux.edn")], env });
  nodes.push(node);
  await node.ready();
  return { node, url: await node.url() };
}

async function write(url: string, ...transactions: (readonly unknown[])[]): Promise<void> {
  const lines = transactions.map((ops) => `${JSON.stringify({ ops })}\n`);
  await mustCairn(["load", "-", "--await", "--url", url], { input: Readable.from(lines) });
}

async function saved(url: string): Promise<string> {
  const { stdout } = await mustCairn(["checkpoint", "create", "--url", url, "--json"]);
  return (JSON.parse(stdout) as { name: string }).name;
}

async function evictions(url: string): Promise<Told[]> {
  const { stdout } = await mustCairn(["evictions", "--json", "--url", url]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Told);
}

/** Which of `tokens` a search through the files below a folder of the test finds. */
async function found(place: string, tokens: readonly string[]): Promise<string[]> {
  const hits: string[] = [];
  for (const one of tokens) {
    if ((await filesWith(path.join(folder, place), one)).length > 0) hits.push(one);
  }
  return hits;
}

async function unpacked(checkpoint: string): Promise<string> {
  const place = `unpacked-${checkpoint}`;
  const from = path.join(folder, "checkpoints", checkpoint);
  await mustCairn(["checkpoint", "restore", from, "-o", path.join(folder, place)]);
  return place;
}

const filler = (count: number): (readonly unknown[])[] =>
  Array.from({ length: count }, (_, at) => [
    ["put", "vault", `default/other-${at}`, { owner: `owner-${at}`, body: token() }],
  ]);

it("what was evicted is in no file of an index, nor of a checkpoint saved since, whatever happens in between", async () => {
  const a = await started("a");
  const policies = path.join(folder, "policies.json");
  await writeFile(policies, JSON.stringify({ indexes: { vault: ["secret", "owner"] } }));
  await mustCairn(["policy", "apply", policies, "--url", a.url]);
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
  const before = await saved(a.url);
  await write(a.url, [["evict", "vault", "default/s"]]);
  // The search finds what is there: in the files of the index, and in the checkpoint.
  expect(await found("a-index", secrets)).toEqual(secrets);
  expect(await found(await unpacked(before), secrets)).toEqual(secrets);
  await a.node.kill();

  // It joins from the checkpoint that has them, and its index then has them in its files.
  const b = await started("b");
  expect(await found("b-index", secrets)).toEqual(secrets);
  const again = await started("a");
  expect(await found("a-index", secrets)).toEqual(secrets);
  expect((await evictions(again.url))[0]).toMatchObject({
    files: { goneSince: null, waitsFor: "compaction" },
    checkpoints: [before],
    inFilesOf: [],
    firstWithout: null,
  });

  const after = await saved(again.url);
  expect(await found("a-index", secrets)).toEqual([]);
  expect(await found(await unpacked(after), secrets)).toEqual([]);
  expect((await evictions(again.url))[0]).toMatchObject({
    files: { goneSince: expect.stringMatching(/^20/) as string, waitsFor: null },
    checkpoints: [before],
    inFilesOf: [],
    firstWithout: after,
  });

  const { stdout: table } = await mustCairn(["evictions", "--url", again.url]);
  expect(table).toMatch(new RegExp(`default/s +1 to \\d+ +no, since 20\\S+ +${before} +${after}`));

  // Each node overwrites its own files by itself.
  await expect.poll(async () => (await evictions(b.url))[0]?.files.waitsFor, { timeout: 60_000 }).toBeNull();
  expect(await found("b-index", secrets)).toEqual([]);
  // And so does one that joins from what is without them.
  const c = await started("c");
  expect(await found("c-index", secrets)).toEqual([]);
  expect((await evictions(c.url))[0]?.files.goneSince).not.toBeNull();
  expect(await c.node.digest()).toEqual(await again.node.digest());
  const { stdout } = await mustCairn(["list", "vault", "--where", "owner:me", "--url", again.url]);
  expect(stdout).toContain("kept");
  expect(stdout).not.toContain("default/s ");
}, 180_000);
