// Runs S3 and NATS as processes on this machine, without containers.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, listens } from "./ports.mjs";
import { startS3Service } from "./s3-service.mjs";

const RADOSGW = fileURLToPath(new URL("radosgw.sh", import.meta.url));
const ROOT = fileURLToPath(new URL("..", import.meta.url));

const succeeds = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;

/** Starts S3 and NATS. Returns their addresses and a function that stops them. */
export async function startPrograms() {
  const data = resolve(ROOT, process.env.CAIRN_LOCALSTACK_DIR ?? "cairn-data/localstack");
  await mkdir(data, { recursive: true });
  const nats = await startNats(resolve(data, "nats"));
  try {
    const s3 = canUseRadosgw()
      ? startRadosgw(resolve(data, "radosgw"))
      : await startSmallS3(resolve(data, "s3"));
    return {
      natsUrl: nats.url,
      s3: s3.access,
      data,
      ended: nats.ended,
      async stop() {
        await s3.stop();
        await nats.stop();
      },
    };
  } catch (error) {
    await nats.stop();
    throw error;
  }
}

async function startNats(dir) {
  const port = await freePort(Number(process.env.CAIRN_LOCALSTACK_NATS_PORT ?? 4222));
  // Debian installs nats-server in a folder that may not be on a user's PATH.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const args = ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", dir, "-l", `${dir}.log`];
  // The server has its own process group, so that Ctrl-C in a terminal reaches only this process, which then stops
  // everything in order.
  const child = spawn("nats-server", args, { env, stdio: "ignore", detached: true });
  const ended = Promise.race([once(child, "exit"), once(child, "error")]).catch((error) => error);
  if (!(await listens(port, ended))) {
    throw new Error(
      child.pid === undefined
        ? "There is no nats-server on the PATH: install it (Debian: apt-get install nats-server), or start a container engine."
        : `nats-server exited; see ${dir}.log.`,
    );
  }
  return {
    url: `nats://127.0.0.1:${port}`,
    ended,
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Whether to use radosgw, a real S3 service: by default if it is installed or can be installed. */
function canUseRadosgw() {
  const choice = process.env.CAIRN_LOCALSTACK_S3;
  if (choice !== undefined && choice !== "radosgw" && choice !== "small")
    throw new Error(`CAIRN_LOCALSTACK_S3 is "${choice}": set it to radosgw or small, or unset it.`);
  if (choice !== undefined) return choice === "radosgw";
  const installed = ["radosgw", "ceph-mon", "ceph-osd"].every((program) => succeeds(program, ["--version"]));
  return installed || (process.getuid?.() === 0 && succeeds("apt-cache", ["show", "radosgw"]));
}

function startRadosgw(dir) {
  const env = { ...process.env, CAIRN_RADOSGW_DIR: dir };
  const { status, stdout } = spawnSync("bash", [RADOSGW, "up"], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  const stop = () => void spawnSync("bash", [RADOSGW, "down"], { env, stdio: "inherit" });
  if (status !== 0) {
    stop();
    throw new Error(
      "radosgw did not start; CAIRN_LOCALSTACK_S3=small uses the small service of this folder instead.",
    );
  }
  const printed = (name) =>
    new RegExp(`^export CAIRN_TEST_S3_${name}='?([^'\\n]*)'?$`, "m").exec(stdout)?.[1];
  return {
    access: {
      name: printed("NAME"),
      endpoint: printed("ENDPOINT"),
      bucket: printed("BUCKET"),
      accessKeyId: printed("ACCESS_KEY"),
      secretAccessKey: printed("SECRET_KEY"),
    },
    stop,
  };
}

async function startSmallS3(dir) {
  const keys = { accessKeyId: "cairn-dev", secretAccessKey: "cairn-dev-secret" };
  const bucket = "cairn-dev";
  const port = await freePort(Number(process.env.CAIRN_LOCALSTACK_S3_PORT ?? 4566));
  const service = await startS3Service({ dir, port, bucket, accessKeyId: keys.accessKeyId });
  const endpoint = `http://127.0.0.1:${service.port}`;
  return {
    access: { name: "the small S3 service of this folder", endpoint, bucket, ...keys },
    stop: () => service.close(),
  };
}
