// S3 and NATS as containers, where an engine answers.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { freePort } from "./ports.mjs";

const FILE = fileURLToPath(new URL("compose.yml", import.meta.url));
const PROJECT = "cairn-localstack";
// LocalStack takes any key; a bucket it has to be told of.
const KEYS = { accessKeyId: "test", secretAccessKey: "test" };
const BUCKET = "cairn-dev";

/** The engine's command, or undefined when none answers. */
export function containerEngine() {
  return ["docker", "podman"].find((engine) => {
    const asked = (args) => spawnSync(engine, args, { stdio: "ignore", timeout: 10_000 }).status === 0;
    return asked(["info"]) && asked(["compose", "version"]);
  });
}

/** Starts both; answers where they are and how to stop them. */
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
  const made =
    compose("up", "-d", "--wait") &&
    compose("exec", "-T", "s3", "awslocal", "s3api", "create-bucket", "--bucket", BUCKET);
  if (!made) {
    stop();
    throw new Error(`${engine} compose did not start ${FILE}; what it said stands above.`);
  }
  return {
    natsUrl: `nats://127.0.0.1:${natsPort}`,
    s3: { name: "LocalStack", endpoint: `http://127.0.0.1:${s3Port}`, bucket: BUCKET, ...KEYS },
    data: `the volumes of the project ${PROJECT}`,
    ended: new Promise(() => {}),
    stop,
  };
}
