import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { testS3, type TestS3 } from "@cairn/localstack";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCheckpoint, runCairnOrThrow, NodeProcess, runCairn } from "@cairn/test-support/cairn-process";

/** An XTDB configuration as in its documentation. */
const XTDB_CONFIG = `{:xtdb/index-store
 {:kv-store {:xtdb/module xtdb.rocksdb/->kv-store
             :checkpointer {:xtdb/module xtdb.checkpoint/->checkpointer
                            :store {:xtdb/module xtdb.s3.checkpoint/->cp-store
                                    :bucket "\${BUCKET}"
                                    :prefix "\${PREFIX}"}
                            :approx-frequency "PT6H"}}}}
`;

describe("a node whose checkpoints are in S3", () => {
  const prefix = `node/${process.pid}-${Date.now()}`;
  let folder = "";
  let s3: TestS3;
  let node: NodeProcess;
  let env: NodeJS.ProcessEnv = {};
  let place = "";

  const start = (): NodeProcess =>
    NodeProcess.start({ id: "solo", dir: folder, args: ["-f", path.join(folder, "cairn.edn")], env });

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-s3-node-"));
    s3 = await testS3();
    place = `s3://${s3.bucket}/${prefix}`;
    env = {
      BUCKET: s3.bucket,
      PREFIX: prefix,
      AWS_ENDPOINT_URL: s3.endpoint,
      AWS_REGION: s3.region,
      AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
    };
    await writeFile(path.join(folder, "cairn.edn"), XTDB_CONFIG);
    node = start();
    await node.ready();
    const url = await node.url();
    await runCairnOrThrow(["tx", "put", "notes", "one", "1", "--url", url]);
    await createCheckpoint(url);
  });
  afterAll(async () => {
    await node.kill();
    await s3.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("starts with an XTDB configuration, and restores from the bucket", async () => {
    const { checkpoints } = await node.status();
    expect(checkpoints.store).toMatchObject({ location: place, canDelete: true });
    const digest = await node.digest();
    expect(await node.stop()).toBe(0);
    await rm(path.join(folder, "solo-index"), { recursive: true });
    node = start();
    await node.ready();
    const { join } = await node.status();
    expect(join.restoredFrom).toMatchObject({ name: checkpoints.last?.name, store: place });
    expect(await node.digest()).toEqual(digest);
    expect(node.output()).not.toContain(s3.credentials.secretAccessKey);
  });

  it(
    "has checkpoints that commands list, show, verify and restore by their s3:// address",
    { tags: "rest/slow" },
    async () => {
      const listed = await runCairnOrThrow(["checkpoint", "list", place, "--json"], { env });
      const { name } = JSON.parse(listed.stdout) as { name: string };
      const shown = await runCairnOrThrow(["checkpoint", "show", `${place}/${name}`, "--json"], { env });
      expect(JSON.parse(shown.stdout)).toMatchObject({ name });
      const verified = await runCairnOrThrow(["checkpoint", "verify", `${place}/`, "--json"], { env });
      const { digest } = await node.digest();
      expect(JSON.parse(verified.stdout)).toMatchObject({ name, digest });
      const target = path.join(folder, "restored");
      await runCairnOrThrow(["checkpoint", "restore", `${place}/${name}.tar`, "-o", target], { env });
      expect(await readdir(target)).toContain("CURRENT");
    },
  );

  it(
    "has checkpoints that stay valid when they are copied to a folder and back to a bucket",
    { tags: "rest/slow" },
    async () => {
      const options = {
        bucket: s3.bucket,
        endpoint: s3.endpoint,
        region: s3.region,
        credentials: s3.credentials,
      };
      const bucket = s3Store({ ...options, prefix });
      const copy = filesystemStore({ path: path.join(folder, "copy") });
      const back = s3Store({ ...options, prefix: `${prefix}-back` });
      for (const [from, to] of [
        [bucket, copy],
        [copy, back],
      ] as const) {
        for (const { name } of await from.list("checkpoint-")) await to.upload(name, await from.open(name));
      }
      await bucket.close();
      await back.close();
      for (const where of [path.join(folder, "copy"), `${place}-back`]) {
        const verified = await runCairnOrThrow(["checkpoint", "verify", where, "--no-mark", "--json"], {
          env,
        });
        expect(JSON.parse(verified.stdout)).toMatchObject({ digest: (await node.digest()).digest });
      }
    },
  );

  describe("commands on its store", () => {
    it("report the error in an address", { tags: "rest/slow" }, async () => {
      const denied = { ...env, AWS_ENDPOINT_URL: "http://127.0.0.1:9" };
      const unreachable = await runCairn(["checkpoint", "list", place], { env: denied });
      expect(unreachable).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/^STORE_UNREACHABLE: .*\n {2}hint: /),
      });
      const nowhere = await runCairn(["checkpoint", "list", "s3:///prefix"], { env });
      expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringContaining("s3://bucket/prefix") });
      const missing = await runCairn(["checkpoint", "verify", `${place}-none`], { env });
      expect(missing).toMatchObject({ code: 1, stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND/) });
    });
  });

  it("prints its configuration without the keys", { tags: "rest/slow" }, async () => {
    const explicit = XTDB_CONFIG.replace(
      ":bucket",
      ':credentials {:access-key-id "${AWS_ACCESS_KEY_ID}" :secret-access-key "${AWS_SECRET_ACCESS_KEY}"} :bucket',
    );
    const file = path.join(folder, "explicit.edn");
    await writeFile(file, explicit);
    const secret = { ...env, AWS_SECRET_ACCESS_KEY: "hunter2-hunter2" };
    for (const json of [[], ["--json"]]) {
      const { stdout, stderr } = await runCairnOrThrow(["config", "print", "-f", file, ...json], {
        env: secret,
      });
      expect(stdout).toContain(s3.bucket);
      expect(stdout + stderr).not.toContain("hunter2");
    }
  });
});
