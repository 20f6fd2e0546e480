// Runs S3 and NATS in containers.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { freePort } from "./ports.mjs";

const FILE = fileURLToPath(new URL("compose.yml", import.meta.url));
const PROJECT = "cairn-localstack";
// LocalStack accepts any key, but the bucket must be created.
const KEYS = { accessKeyId: "test", secretAccessKey: "test" };
const BUCKET = "cairn-dev";

/** Returns the command of a container engine that works, or undefined. */
export function containerEngine() {
  return ["docker", "podman"].find((engine) => {
    const succeeds = (args) => spawnSync(engine, args, { stdio: "ignore", timeout: 10_000 }).status === 0;
    return succeeds(["info"]) && succeeds(["compose", "version"]);
  });
}

/** Starts S3 and NATS. Returns their addresses and a function that stops them. */
export async function startContainers(engine) {
  const s3Port = await freePort(Number(process.env.CAIRN_LOCALSTACK_S3_PORT ?? 4566));
  const natsPort = await freePort(Number(process.env.CAIRN_LOCALSTACK_NATS_PORT ?? 4222));
  const env = {
    ...process.env,
    CAIRN_LOCALSTACK_S3_PORT: String(s3Port),
    CAIRN_LOCALSTACK_NATS_PORT: String(natsPort),
  };
  const compose = (...args) =>
    spawnSync(engine, ["compose", "-p", PROJECT, "-f", FILE, ...args], {
      stdio: ["ignore", "inherit", "inherit"],
      env,
    }).status === 0;
  const stop = () => void compose("down");
  const started =
    compose("up", "-d", "--wait") &&
    compose("exec", "-T", "s3", "awslocal", "s3api", "create-bucket", "--bucket", BUCKET);
  if (!started) {
    stop();
    throw new Error(`${engine} compose did not start ${FILE}; see its output above.`);
  }
  return {
    natsUrl: `nats://127.0.0.1:${natsPort}`,
    s3: { name: "LocalStack", endpoint: `http://127.0.0.1:${s3Port}`, bucket: BUCKET, ...KEYS },
    data: `the volumes of the project ${PROJECT}`,
    ended: new Promise(() => {}),
    stop,
  };
}
