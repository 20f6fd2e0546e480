// S3 for tests and the bench: the service that the environment names, or else the small one in this folder, in a
// separate process.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PROCESS = fileURLToPath(new URL("s3-process.mjs", import.meta.url));

/** Returns the service that CAIRN_TEST_S3_ENDPOINT and the other variables name. */
function namedService(env) {
  const endpoint = env.CAIRN_TEST_S3_ENDPOINT;
  if (!endpoint) return undefined;
  const need = (name) => {
    const value = env[`CAIRN_TEST_S3_${name}`];
    if (!value) throw new Error(`CAIRN_TEST_S3_ENDPOINT is set, but CAIRN_TEST_S3_${name} is not.`);
    return value;
  };
  return {
    name: env.CAIRN_TEST_S3_NAME || endpoint,
    endpoint,
    bucket: need("BUCKET"),
    region: env.CAIRN_TEST_S3_REGION || "us-east-1",
    credentials: { accessKeyId: need("ACCESS_KEY"), secretAccessKey: need("SECRET_KEY") },
    ignoresConditions: false,
    close: async () => {},
  };
}

/** Returns an S3 service with one bucket. The caller must close it. */
export async function testS3({ env = process.env, conditions = true } = {}) {
  return namedService(env) ?? (await smallService(conditions));
}

async function smallService(conditions) {
  const dir = await mkdtemp(join(tmpdir(), "cairn-s3-"));
  const credentials = { accessKeyId: "cairn-test", secretAccessKey: "cairn-test-secret" };
  const bucket = "cairn-test";
  const options = { dir, bucket, conditions, accessKeyId: credentials.accessKeyId };
  const child = spawn(process.execPath, [PROCESS, JSON.stringify(options)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const [port] = await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    exited.then(() => {
      throw new Error("The S3 service exited before it listened.");
    }),
  ]);
  return {
    name: "the S3 service of localstack",
    endpoint: `http://127.0.0.1:${port}`,
    bucket,
    region: "us-east-1",
    credentials,
    ignoresConditions: !conditions,
    async close() {
      child.kill("SIGTERM");
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
