// Checks deploy/ with systemd, the schemas of Kubernetes and those of Compose: node test/dist/outside/deploy/main.js
import { spawnSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";
import { pythonEnvironment } from "../python-environment.ts";

const DEPLOY = join(ROOT, "deploy");
const COMPOSE = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2";
const SCHEMAS = "kubernetes-validate==1.37.0";
/** The highest acceptable exposure, out of 10, as `systemd-analyze security` rates it. */
const MAX_EXPOSURE = 2;

/** The outcome of a check: what it found correct, or what is wrong. */
interface Finding {
  readonly summary: string;
  readonly problem?: string;
}

/** Returns what a program printed if it failed; undefined if it succeeded. */
function complaint(program: string, args: readonly string[], env = process.env): string | undefined {
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", env });
  if (error !== undefined) throw new Error(`This needs ${program}: ${error.message}`);
  return status === 0 ? undefined : `${stdout}${stderr}`;
}

const folder = await mkdtemp(join(tmpdir(), "cairn-deploy-"));

async function systemd(): Promise<Finding> {
  // The command of the unit must exist when the unit is verified.
  const unit = await readFile(join(DEPLOY, "systemd/cairn.service"), "utf8");
  const file = join(folder, "cairn.service");
  const write = (text: string): Promise<void> =>
    writeFile(file, text.replaceAll("/opt/cairn/bin/cairn", process.execPath));
  const verify = (): string | undefined => {
    const { error, status, stderr } = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
    if (error !== undefined)
      throw new Error(`This needs systemd-analyze (Debian: systemd): ${error.message}`);
    return status === 0 && stderr === "" ? undefined : `systemd-analyze verify: ${stderr}`;
  };
  await write(unit.replace("ProtectSystem=strict", "ProtectSytem=strict"));
  const missed = verify() === undefined ? "systemd-analyze does not find a mistyped name" : undefined;
  await write(unit);
  const { stdout } = spawnSync("systemd-analyze", ["security", "--offline=true", "--no-pager", file], {
    encoding: "utf8",
  });
  const exposure = Number(/Overall exposure level[^:]*: ([\d.]+)/.exec(stdout)?.[1] ?? 10);
  const exposed = exposure > MAX_EXPOSURE ? `the exposure is ${exposure}, above ${MAX_EXPOSURE}` : undefined;
  const problem = missed ?? verify() ?? exposed;
  return {
    summary: `cairn.service, exposure ${exposure} of 10`,
    ...(problem === undefined ? {} : { problem }),
  };
}

async function kubernetes(): Promise<Finding> {
  const bin = await pythonEnvironment("kubernetes", [SCHEMAS]);
  const validate = (file: string): string | undefined =>
    complaint(join(bin, "kubernetes-validate"), ["--strict", "--quiet", file]);
  const names = (await readdir(join(DEPLOY, "kubernetes"))).filter(
    (name) => name.endsWith(".yaml") && name !== "kustomization.yaml",
  );
  const wrong = join(folder, "wrong.yaml");
  const statefulSet = await readFile(join(DEPLOY, "kubernetes/statefulset.yaml"), "utf8");
  await writeFile(wrong, statefulSet.replace("readinessProbe:", "readynessProbe:"));
  const problem =
    validate(wrong) === undefined
      ? "kubernetes-validate does not find a mistyped name"
      : names.map((name) => validate(join(DEPLOY, "kubernetes", name))).find((found) => found !== undefined);
  return { summary: `${names.length} files`, ...(problem === undefined ? {} : { problem }) };
}

async function compose(): Promise<Finding> {
  const cache = join(ROOT, "node_modules/.cache/compose");
  await mkdir(cache, { recursive: true });
  const unfetched = complaint("go", ["install", COMPOSE], { ...process.env, GOBIN: cache });
  if (unfetched !== undefined)
    throw new Error(`Go could not fetch the reader of Compose files: ${unfetched}`);
  const read = (file: string): string | undefined =>
    complaint(join(cache, "cmd"), ["-no-interpolation", file]);
  const file = join(folder, "compose.yaml");
  const text = await readFile(join(DEPLOY, "compose.yaml"), "utf8");
  await copyFile(join(DEPLOY, "cairn.edn"), join(folder, "cairn.edn"));
  await writeFile(file, text.replace("service_healthy", "service_helthy"));
  const missed = read(file) === undefined ? "compose-go does not find a mistyped condition" : undefined;
  await writeFile(file, text);
  const problem = missed ?? read(file);
  return { summary: "compose.yaml", ...(problem === undefined ? {} : { problem }) };
}

try {
  for (const [name, judge] of Object.entries({ systemd, kubernetes, compose })) {
    try {
      const { summary, problem } = await judge();
      process.stdout.write(`deploy, ${name}: ${summary}: ${problem ?? "nothing found"}\n`);
      if (problem !== undefined) process.exitCode = 1;
    } catch (error) {
      process.stdout.write(`deploy, ${name}: not checked. ${(error as Error).message}\n`);
      process.exitCode = 1;
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
