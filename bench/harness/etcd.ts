import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "@cairn/log-nats/testing";
import type { Workspace } from "../data/workspace.ts";
import { succeeds } from "./command.ts";
import { type ServerProcess, startServer } from "./node-process.ts";

const FOLDER = fileURLToPath(new URL("../../node_modules/.cache/etcd", import.meta.url));
/** The module cannot be installed directly, because its go.mod replaces other modules. */
const PROGRAM = `package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
`;

/**
 * Returns the path of etcd: the newest version, built from its Go module, or the installed one if there is no Go;
 * undefined if there is neither.
 */
async function findEtcd(onProgress: (what: string) => void): Promise<string | undefined> {
  const built = join(FOLDER, "etcd");
  if (existsSync(built)) return built;
  if (succeeds("go", ["version"])) {
    onProgress("building etcd from its Go module");
    await mkdir(FOLDER, { recursive: true });
    await writeFile(join(FOLDER, "main.go"), PROGRAM);
    const commands = [
      ["mod", "init", "example.org/etcd"],
      ["mod", "tidy"],
      ["build", "-o", built, "."],
    ];
    for (const args of existsSync(join(FOLDER, "go.mod")) ? commands.slice(1) : commands) {
      const { status, stderr } = spawnSync("go", args, { cwd: FOLDER, encoding: "utf8" });
      if (status !== 0) onProgress(`go ${args.join(" ")} failed: ${stderr}`);
    }
    if (existsSync(built)) return built;
  }
  return succeeds("etcd", ["--version"]) ? "etcd" : undefined;
}

/** Starts etcd until the workspace is closed; reports and returns undefined if there is none. */
export async function startEtcdIfFound(workspace: Workspace): Promise<ServerProcess | undefined> {
  const program = await findEtcd(workspace.onProgress);
  if (program === undefined) {
    workspace.onProgress(
      "etcd could be neither built with Go nor found on the PATH (Debian: etcd-server), so it is left out",
    );
    return undefined;
  }
  const etcd = await startEtcd(program, workspace.fresh("etcd"));
  workspace.atClose(() => etcd.stop());
  return etcd;
}

/**
 * Starts etcd with its data in `dir`, and with its defaults, which flush every write before the response. Only the size
 * at which it accepts no more writes is raised, because it keeps all versions.
 */
async function startEtcd(program: string, dir: string): Promise<ServerProcess> {
  await mkdir(dir);
  const [port, peerPort] = [await freePort(), await freePort()];
  const [url, peerUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`];
  const args = Object.entries({
    "--data-dir": join(dir, "data"),
    "--listen-client-urls": url,
    "--advertise-client-urls": url,
    "--listen-peer-urls": peerUrl,
    "--initial-advertise-peer-urls": peerUrl,
    "--initial-cluster": `default=${peerUrl}`,
    "--log-level": "error",
    "--quota-backend-bytes": "8589934592",
  }).flat();
  return await startServer(program, args, { dir, port, path: "/health" });
}
