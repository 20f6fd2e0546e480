import { execFile } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { VERSION } from "@cairn/text";
import { afterEach, beforeEach, expect, test } from "vitest";

const CONFIG = new URL("../dist/bundle/index.js", import.meta.url).href;

/** Makes Node find neither package beside the bundle, as where only the package of a node is installed. */
const NOT_BESIDE = `
export async function resolve(specifier, context, next) {
  if (context.parentURL !== ${JSON.stringify(CONFIG)} || !/^@cairn\\/(?:log-nats|checkpoint-s3)$/.test(specifier))
    return next(specifier, context);
  return next(specifier, { ...context, parentURL: "file:///nowhere/index.js" });
}`;

const PROGRAM = `
import { register } from "node:module";
register("data:text/javascript," + encodeURIComponent(${JSON.stringify(NOT_BESIDE)}));
const { readConfig, createSystem } = await import(${JSON.stringify(CONFIG)});
const result = await readConfig({ file: process.argv[2], env: {}, cwd: process.cwd() });
if (result.ok) await (await createSystem(result.config)).openTxLog({}).catch((error) => console.log(error.message));
else console.log(JSON.stringify(result.problems));`;

const NATS = `{\n  "cairn/tx-log": {"cairn/module": "cairn.nats/->tx-log"}\n}`;
const S3 = `{"cairn/index-store": {"kv-store": {"checkpointer": {"approx-frequency": "PT1H",
  "store": {"cairn/module": "cairn.s3/->checkpoint-store", "bucket": "bucket"}}}}}`;

let folder: string;
let program: string;
let config: string;

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "cairn-optional-")));
  program = join(folder, "program/main.mjs");
  config = join(folder, "etc/cairn.json");
  for (const place of ["program", "etc"]) await mkdir(join(folder, place));
  await writeFile(program, PROGRAM);
  await writeFile(config, NATS);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** Installs a package whose log says where it was found. */
async function install(place: string): Promise<void> {
  const installed = join(folder, place, "node_modules/@cairn/log-nats");
  await mkdir(installed, { recursive: true });
  await writeFile(join(installed, "package.json"), '{"type": "module", "exports": "./index.js"}');
  await writeFile(
    join(installed, "index.js"),
    `export const openNatsTxLog = async () => { throw new Error("from ${place}"); };`,
  );
}

async function outputOf(file: string): Promise<string> {
  // Package managers set NODE_PATH for the programs that they start.
  const env = { ...process.env, NODE_PATH: "" };
  const { stdout } = await promisify(execFile)(process.execPath, [file, config], { cwd: folder, env });
  return stdout.trim();
}

test.each([
  ["@cairn/log-nats", NATS, ["cairn/tx-log"], ":2:"],
  ["@cairn/checkpoint-s3", S3, ["cairn/index-store", "kv-store", "checkpointer", "store"], ":2:"],
])("a configuration that needs %s, which is not installed, is refused", async (name, text, path, line) => {
  await writeFile(config, text);
  expect(JSON.parse(await outputOf(program))).toEqual([
    {
      code: "CONFIG_INVALID",
      path,
      place: expect.stringContaining(config + line) as string,
      message: expect.stringContaining(`cannot be used. The package ${name} is not installed.`) as string,
      hint: `Install it in the project that starts the node: npm install ${name}@${VERSION} (or pnpm add, or yarn add).`,
    },
  ]);
});

test(
  "a package is found from the configuration's folder, and then from the program's, even through a link",
  { tags: "rest/slow" },
  async () => {
    const command = join(folder, "command");
    await symlink(program, command);
    await install("program");
    expect(await outputOf(program)).toBe("from program");
    expect(await outputOf(command)).toBe("from program");
    await install("etc");
    expect(await outputOf(program)).toBe("from etc");
  },
);
