import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { testS3, type TestS3 } from "@cairn/localstack";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { mustCairn, NodeProcess, runCairn } from "./support/cairn-process.ts";

const DOCUMENTS = 5_000;
const LATER = 7;

describe("two nodes that share checkpoints through S3 and a log on NATS", () => {
  let folder = "";
  let s3: TestS3;
  let nats: NatsTestServer;
  let env: NodeJS.ProcessEnv;
  let place = "";
  const started: NodeProcess[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-s3-"));
    [s3, nats] = await Promise.all([testS3(), startNatsServer()]);
    const { accessKeyId, secretAccessKey } = s3.credentials;
    env = {
      NATS_URL: nats.url,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: s3.region,
      AWS_ENDPOINT_URL_S3: s3.endpoint,
    };
    place = `s3://${s3.bucket}/cairn-test/${randomBytes(6).toString("hex")}`;
  });
  afterAll(async () => {
    await Promise.all(started.filter((node) => !node.exited).map((node) => node.kill()));
    await Promise.all([nats?.close(), s3?.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  async function start(id: string): Promise<NodeProcess> {
    const file = path.join(folder, `${id}.json`);
    const store = {
      "cairn/module": "cairn.s3/->checkpoint-store",
      bucket: s3.bucket,
      prefix: place.slice(`s3://${s3.bucket}/`.length),
    };
    const checkpointer = {
      "cairn/module": "cairn.checkpoint/->checkpointer",
      store,
      "approx-frequency": "PT6H",
    };
    const kvStore = { "cairn/module": "cairn.leveldb/->kv-store", checkpointer };
    await writeFile(file, JSON.stringify({ "cairn/index-store": { "kv-store": kvStore } }));
    const node = NodeProcess.start({ id, dir: path.join(folder, id), args: ["-f", file], env });
    started.push(node);
    await node.ready();
    return node;
  }

  it("the second joins from the checkpoint of the first, replays what came after, and has the same digest", async () => {
    const a = await start("a");
    const url = await a.url();
    await mustCairn(["load", "-", "--await", "--url", url], { input: lines(DOCUMENTS, "early") });
    // The first one of an empty store comes by itself, and may be under way.
    await vi.waitFor(() => mustCairn(["checkpoint", "create", "--url", url]), { timeout: 30_000 });
    await mustCairn(["load", "-", "--await", "--url", url], { input: lines(LATER, "late") });
    const saved = (await a.status()).checkpoints.last;
    expect(saved?.bytes).toBeGreaterThan(0);

    const b = await start("b");
    const { join, index, log } = await b.status();
    expect(join.restoredFrom).toMatchObject({ name: saved?.name, store: place });
    expect(join).toMatchObject({ replayed: LATER, skipped: [] });
    expect(index.txId).toBe(log.lastTxId);
    expect(await b.digest()).toEqual(await a.digest());
  });

  it("what a node says of its store holds no key", async () => {
    const [a] = started;
    const said = JSON.stringify(await a?.status()) + a?.output();
    expect(said).toContain(place);
    expect(said).not.toContain(s3.credentials.secretAccessKey);
  });

  it("the place works wherever the command line takes one", async () => {
    const listed = await mustCairn(["checkpoint", "list", place, "--json"], { env });
    const { name } = JSON.parse(listed.stdout.split("\n")[0] ?? "") as { name: string };
    await mustCairn(["checkpoint", "verify", `${place}/${name}`, "--no-mark"], { env });
    const digest = await mustCairn(["db", "digest", `${place}/${name}`], { env });
    expect(digest.stdout).toContain("sha256:");
  });

  it("a node whose bucket is not there refuses to save and says which bucket", async () => {
    const missing = `s3://no-such-bucket-${randomBytes(4).toString("hex")}/x`;
    const { code, stderr } = await runCairn(["checkpoint", "list", missing], { env });
    expect(code).toBe(3);
    expect(stderr).toContain("STORE_UNREACHABLE");
    expect(stderr).toContain(missing.slice("s3://".length, -"/x".length));
  });

  it("wrong credentials are told as such, without the key, by a service that looks at any", async () => {
    const wrong = { ...env, AWS_ACCESS_KEY_ID: "somebody-else", AWS_SECRET_ACCESS_KEY: "not-to-be-told" };
    const { code, stderr } = await runCairn(["checkpoint", "list", place], { env: wrong });
    expect(stderr).not.toContain("not-to-be-told");
    const anonymous = await fetch(`${s3.endpoint}/${s3.bucket}?list-type=2&max-keys=1`);
    if (anonymous.ok) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return;
    }
    expect(code).toBe(3);
    expect(stderr).toContain("STORE_DENIED");
  });

  it("a place that a service may take for another one is refused, with what to write", async () => {
    const { code, stderr } = await runCairn(["checkpoint", "list", `s3://${s3.bucket}/a//b`], { env });
    expect(code).toBe(2);
    expect(stderr).toContain("CONFIG_INVALID");
    expect(stderr).toContain('"a//b"');
    expect(stderr).toContain("cairn/production");
  });
});

async function* lines(count: number, word: string): AsyncGenerator<string> {
  for (let n = 0; n < count; n += 1)
    yield `${JSON.stringify({ ops: [["put", "things", `default/${word}-${n}`, { n, text: "x".repeat(200) }]] })}\n`;
}
