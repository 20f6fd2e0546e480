// @module-tag rest/packaging
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { freePort } from "@cairn/log-nats/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "@cairn/test-support/cairn-process";

const run = promisify(execFile);

/** A user without rights, as the image's user; root installs, as when the image is built. */
const NOBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

let folder = "";
let dockerfile = "";
let env: NodeJS.ProcessEnv = {};
let child: ChildProcess | undefined;
const place = (name: string): string => path.join(folder, name);

/** Moves the image's paths into the test's folder. */
function moved(text: string): string {
  return text
    .replaceAll("/opt/cairn", place("opt/cairn"))
    .replaceAll("/var/lib/cairn", place("var/lib/cairn"))
    .replaceAll("/etc/cairn", place("etc/cairn"))
    .replaceAll("/build/install.sh", path.join(ROOT, "deploy/install.sh"))
    .replaceAll("$PACKAGES", place("tarballs/*.tgz"));
}

/** Returns the words of an instruction of the Dockerfile in its exec form. */
function words(instruction: RegExp): string[] {
  const list = instruction.exec(dockerfile)?.[1];
  if (list === undefined) throw new Error(`The Dockerfile has no ${String(instruction)}.`);
  return JSON.parse(moved(list)) as string[];
}

/** Starts a process in the image's environment, under its user. */
function start([program = "", ...args]: readonly string[]): { child: ChildProcess; output: () => string } {
  const started = spawn(program, args, { cwd: place("etc/cairn"), env, ...NOBODY });
  let output = "";
  for (const stream of [started.stdout, started.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return { child: started, output: () => output };
}

/** Returns the exit code and the output of a command in the image's environment, under its user. */
async function outcome(command: readonly string[]): Promise<{ code: number; output: string }> {
  const { child: started, output } = start(command);
  const [code] = (await once(started, "close")) as [number];
  return { code, output: output() };
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-image-"));
  await chmod(folder, 0o755);
  dockerfile = await readFile(path.join(ROOT, "deploy/Dockerfile"), "utf8");
  for (const name of ["tarballs", "bin", "etc/cairn", "var/lib/cairn"])
    await mkdir(place(name), { recursive: true });
  if (NOBODY.uid !== undefined) await chown(place("var/lib/cairn"), NOBODY.uid, NOBODY.gid);
  // The user may not be permitted to read the folder of this process's Node.
  await copyFile(process.execPath, place("bin/node"));
  await run(process.execPath, ["scripts/check-packages.mjs", place("tarballs")], { cwd: ROOT });

  const declared = /^ENV ((?:.*\\\n)*.*)/m.exec(dockerfile)?.[1] ?? "";
  const variables = [...moved(declared).matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]);
  env = Object.fromEntries(variables) as NodeJS.ProcessEnv;
  env["PATH"] = `${place("bin")}:${(env["PATH"] ?? "").replace("$PATH", process.env["PATH"] ?? "")}`;
  env["CAIRN_NODE_ID"] = "image";
  // The address and the port are the container's own, but here they are this machine's.
  env["CAIRN_HTTP_HOST"] = "127.0.0.1";
  env["CAIRN_HTTP_PORT"] = String(await freePort());
}, 600_000);

afterAll(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  // The program folder is read-only, also for whoever made it.
  await run("chmod", ["-R", "u+w", folder]);
  await rm(folder, { recursive: true, force: true });
});

describe("what the Dockerfile does, in an empty folder under a user without rights", () => {
  it("installs the packages into a folder that the node cannot write to", async () => {
    const steps = [...dockerfile.matchAll(/^RUN (.*install\.sh.*)$/gm)].map(([, step = ""]) => step);
    expect(steps).toHaveLength(1);
    // Whatever the umask, the node's user must be able to read the files.
    await run("sh", ["-c", `umask 077; ${moved(steps[0] ?? "")}`], {
      env: { ...process.env, npm_config_prefer_offline: "true" },
    });
    expect(await outcome(["cairn", "version"])).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
    });
    expect(await outcome(["find", place("opt/cairn"), "!", "-type", "l", "-writable"])).toEqual({
      code: 0,
      output: "",
    });
  });

  it("starts no node without its configuration, and then one that becomes ready, answers the health check, and ends with 0 after SIGTERM", async () => {
    const healthcheck = words(/^HEALTHCHECK .*CMD (\[.*\])$/m);
    const readiness = [...healthcheck.slice(0, -1), "ready"];
    const command = [...words(/^ENTRYPOINT (\[.*\])$/m), ...words(/^CMD (\[.*\])$/m)];
    expect((await outcome(healthcheck)).code).toBe(1);
    const refused = await outcome(command);
    expect(refused.code).toBe(2);
    expect(refused.output).toContain(`${place("etc/cairn")} is empty: put the file there, or mount there`);
    expect(await readdir(place("var/lib/cairn"))).toEqual([]);
    await writeFile(place("etc/cairn/cairn.edn"), "{}");
    const url = `http://127.0.0.1:${env["CAIRN_HTTP_PORT"]}/api/v1/pods/default/web-0`;

    // The second start continues with what the first one left in the volume.
    for (const status of [404, 200]) {
      const node = start(command);
      child = node.child;
      const exited = once(node.child, "exit");
      await expect.poll(async () => (await outcome(readiness)).code, { interval: 200 }).toBe(0);
      expect((await outcome(healthcheck)).code).toBe(0);
      expect((await fetch(url)).status).toBe(status);
      if (status === 404) expect((await fetch(url, { method: "PUT", body: "{}" })).status).toBe(201);
      node.child.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
      expect(node.output()).toContain("SIGTERM: stopping");
      expect(node.output()).not.toMatch(/"level":"(?:warn|error|fatal)"/);
    }
  });

  it("rejects an installation without packages", async () => {
    const install = path.join(ROOT, "deploy/install.sh");
    await expect(run("sh", [install, place("nothing")])).rejects.toMatchObject({
      code: 2,
      stderr: "usage: install.sh FOLDER PACKAGE...\n",
    });
  });
});
