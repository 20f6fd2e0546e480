// @module-tag rest/slow
// @module-tag nats
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { testS3, type TestS3 } from "@cairn/localstack";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, runCairnOrThrow, NodeProcess, runCairn } from "@cairn/test-support/cairn-process";

const DOCUMENTS = 5_000;
const LATER = 7;

describe("a cluster with checkpoints in S3 and a log on NATS", () => {
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

  it(
    "joins a second node from the first one's checkpoint and the rest of the log, with the same digest",
    { tags: "rest/slow" },
    async () => {
      const a = await start("a");
      const url = await a.url();
      await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: lines(DOCUMENTS, "early") });
      await createCheckpoint(url);
      await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: lines(LATER, "late") });
      const saved = (await a.status()).checkpoints.last;
      expect(saved?.bytes).toBeGreaterThan(0);

      const b = await start("b");
      const { join, index, log } = await b.status();
      expect(join.restoredFrom).toMatchObject({ name: saved?.name, store: place });
      expect(join).toMatchObject({ replayed: LATER, skipped: [] });
      expect(index.txId).toBe(log.lastTxId);
      expect(await b.digest()).toEqual(await a.digest());
    },
  );

  it("names its store, but not the secret key, in status and log", async () => {
    const [a] = started;
    const output = JSON.stringify(await a?.status()) + a?.output();
    expect(output).toContain(place);
    expect(output).not.toContain(s3.credentials.secretAccessKey);
  });

  it("has checkpoints that commands read by their s3:// address", { tags: "rest/slow" }, async () => {
    const listed = await runCairnOrThrow(["checkpoint", "list", place, "--json"], { env });
    const { name } = JSON.parse(listed.stdout.split("\n")[0] ?? "") as { name: string };
    await runCairnOrThrow(["checkpoint", "verify", `${place}/${name}`, "--no-mark"], { env });
    const digest = await runCairnOrThrow(["db", "digest", `${place}/${name}`], { env });
    expect(digest.stdout).toContain("sha256:");
  });

  describe("commands on its store", () => {
    it("report STORE_UNREACHABLE and the bucket if the bucket does not exist", async () => {
      const missing = `s3://no-such-bucket-${randomBytes(4).toString("hex")}/x`;
      const { code, stderr } = await runCairn(["checkpoint", "list", missing], { env });
      expect(code).toBe(3);
      expect(stderr).toContain("STORE_UNREACHABLE");
      expect(stderr).toContain(missing.slice("s3://".length, -"/x".length));
    });

    it("report STORE_DENIED for wrong credentials, without the key, if the service checks credentials", async () => {
      const wrong = { ...env, AWS_ACCESS_KEY_ID: "another-user", AWS_SECRET_ACCESS_KEY: "not-to-be-shown" };
      const { code, stderr } = await runCairn(["checkpoint", "list", place], { env: wrong });
      expect(stderr).not.toContain("not-to-be-shown");
      const anonymous = await fetch(`${s3.endpoint}/${s3.bucket}?list-type=2&max-keys=1`);
      if (anonymous.ok) {
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        return;
      }
      expect(code).toBe(3);
      expect(stderr).toContain("STORE_DENIED");
    });

    it("refuse an ambiguous prefix and suggest a better one", async () => {
      const { code, stderr } = await runCairn(["checkpoint", "list", `s3://${s3.bucket}/a//b`], { env });
      expect(code).toBe(2);
      expect(stderr).toContain("CONFIG_INVALID");
      expect(stderr).toContain('"a//b"');
      expect(stderr).toContain("cairn/production");
    });
  });
});

async function* lines(count: number, word: string): AsyncGenerator<string> {
  for (let n = 0; n < count; n += 1)
    yield `${JSON.stringify({ ops: [["put", "things", `default/${word}-${n}`, { n, text: "x".repeat(200) }]] })}\n`;
}
