import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { testS3 } from "@cairn/localstack";
import { startNatsServer } from "@cairn/log-nats/testing";
import { rolldown } from "rolldown";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const run = promisify(execFile);

const PROGRAM = `
import { CairnError, startNode } from "@cairn/node";
import { CairnClient } from "@cairn/client";
import { isCairnError } from "@cairn/kv";
const node = await startNode({ "cairn/node": { id: "worker", dir: "./state" }, "cairn/http-server": { port: 0 } });
await node.ready;
const { txId } = await node.submit({ ops: [["put", "jobs", "default/42", { state: "running" }]] });
await node.await(txId);
const document = await node.get({ bucket: "jobs", namespace: "default", name: "42" });
const client = new CairnClient({ urls: node.url });
const { document: read } = await client.get("jobs", "42");
await node.close();
console.log(JSON.stringify(read), document.json, isCairnError(new CairnError("CONFLICT", "One class for all packages.")));
`;

/** Saves a checkpoint for which threads are started, and prints the size of the index and the type of the page. */
const EMBEDDING = `
import { randomBytes } from "node:crypto";
import { startNode } from "@cairn/node";
const node = await startNode({ "cairn/node": { id: "bundled", dir: "./bundled" }, "cairn/http-server": { port: 0 } });
await node.ready;
let last = 0;
for (let n = 0; n < 60; n++) {
  const text = randomBytes(375_000).toString("base64");
  last = (await node.submit({ ops: [["put", "blobs", "default/" + n, text]] })).txId;
}
await node.await(last);
await node.checkpoint().done;
const { bytes } = (await node.status()).checkpoints.last;
const page = await fetch(node.url);
await node.close();
console.log(bytes >= 30_000_000, page.headers.get("content-type"));
`;

/** Prints the hint of a refusal, or the address of the checkpoint that a ready node saved. */
const REFUSED = `
import { readFile } from "node:fs/promises";
import { startNode } from "@cairn/node";
try {
  const node = await startNode(JSON.parse(await readFile("config.json", "utf8")));
  await node.ready;
  await node.await((await node.submit({ ops: [["put", "jobs", "default/42", 1]] })).txId);
  await node.checkpoint().done;
  const { checkpoints } = await node.status();
  await node.close();
  console.log(JSON.stringify({ saved: checkpoints.store.location }));
} catch ({ code, hint, message }) {
  console.log(JSON.stringify({ code, hint, message }));
}
`;

const TYPED = `
import { startNode, type CairnNode, type StartNodeOptions, type TxLog } from "@cairn/node";
import { CairnClient, type ClientDocument } from "@cairn/client";
import { checkpointStoreSuite, type CheckpointStoreSuite } from "@cairn/checkpoint/testing";
import { filesystemStore, type CheckpointStore, type Manifest } from "@cairn/checkpoint";
import { levelProvider, type KvProvider, type KvStore } from "@cairn/kv";
import { describeTxLog, type TxLogHarness } from "@cairn/engine/testing";
import { prometheusMetrics } from "@cairn/http";
import { kvStoreSuite, type KvStoreSuiteOptions } from "@cairn/kv/testing";
export const node: Promise<CairnNode> = startNode({});
export const provider: KvProvider = levelProvider();
export const document: Promise<ClientDocument<{ cpu: number }> | undefined> =
  new CairnClient({ urls: "http://127.0.0.1:3000" }).get<{ cpu: number }>("pods", "web-0");
export const opened: Promise<KvStore> = provider.open("./index");
export const store: CheckpointStore = filesystemStore({ path: "./store" });
export const txIdOf = (manifest: Manifest): number => manifest.txId;
export const measure: object = prometheusMetrics;
export const nameOf = (log: TxLog, options: StartNodeOptions): string => log.name + String(options.cwd);
export function suites(harness: TxLogHarness, kv: KvStoreSuiteOptions, stores: CheckpointStoreSuite): void {
  kvStoreSuite("mine", kv);
  checkpointStoreSuite("mine", stores);
  describeTxLog("mine", async () => harness);
}
`;

const PACKAGING = { tags: "rest/packaging" };

const INSTALL = "npm install --ignore-scripts ./tarballs/*.tgz";

interface Registry {
  readonly url: string;
  close(): void;
}

const { MANAGERS, projectOfRegistry, readPackages, serveRegistry } = (await import(
  new URL("../scripts/packed-packages.mjs", import.meta.url).href
)) as {
  MANAGERS: Readonly<
    Record<string, { readonly program: readonly string[]; readonly add: readonly string[] }>
  >;
  projectOfRegistry: (url: string) => Readonly<Record<string, string>>;
  readPackages: (folder: string) => ReadonlyMap<string, unknown>;
  serveRegistry: (packages: ReadonlyMap<string, unknown>) => Promise<Registry>;
};

let folder = "";
let installWarnings: readonly string[] = [];
const place = (name: string): string => path.join(folder, name);

/** Returns the lines that npm and the node print to standard error, except about the settings of this machine's npm. */
function ofPackages(stderr: string): readonly string[] {
  return stderr.split("\n").filter((line) => line !== "" && !/^npm warn Unknown \w+ config/.test(line));
}

/** Bundles {@link EMBEDDING}, except for the packages with these names. Returns the name of the bundle. */
async function bundle(external: RegExp): Promise<string> {
  const input = place("embedding.js");
  await writeFile(input, EMBEDDING);
  const build = await rolldown({ cwd: folder, input, platform: "node", external });
  await build.write({ file: place("bundle.js"), codeSplitting: false });
  await build.close();
  return "bundle.js";
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-packages-"));
  await mkdir(place("tarballs"));
  // Fails if a package contains anything that does not belong in it.
  await run(process.execPath, ["scripts/check-packages.mjs", place("tarballs")], { cwd: ROOT });
  await writeFile(place("package.json"), '{"private": true, "type": "module"}');
  // As the README says. npm's own options keep the test away from other services.
  const { stderr } = await run(
    "sh",
    ["-c", `npm_config_audit=false npm_config_prefer_offline=true ${INSTALL}`],
    {
      cwd: folder,
    },
  );
  installWarnings = ofPackages(stderr);
}, 600_000);
afterAll(async () => await rm(folder, { recursive: true, force: true }));

describe("the packages, when installed from their tarballs into an empty folder", PACKAGING, () => {
  it.each([
    ["by default", []],
    ["with the export condition of this repository's tests, too", ["--conditions=cairn-source"]],
  ])("run in a program %s", async (_, options) => {
    await writeFile(place("program.js"), PROGRAM);
    const { stdout } = await run(process.execPath, [...options, "program.js"], { cwd: folder });
    expect(stdout).toBe('{"state":"running"} {"state":"running"} true\n');
    await writeFile(place("program.cjs"), 'console.log(typeof require("@cairn/node").startNode);');
    const required = await run(process.execPath, [...options, "program.cjs"], { cwd: folder });
    expect(required.stdout).toBe("function\n");
  });

  it("are ready without a warning: one npm install, and one npx cairn start", async () => {
    expect(await readFile(path.join(ROOT, "README.md"), "utf8")).toContain(
      INSTALL.replace("./tarballs/", "CAIRN/dist/release/"),
    );
    expect(installWarnings).toEqual([]);
    const env = { ...process.env, CAIRN_HTTP_PORT: "0" };
    const node = spawn("npx", ["cairn", "start"], { cwd: folder, env, detached: true });
    try {
      let output = "";
      let errors = "";
      node.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      node.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
      await expect.poll(() => output).toContain(" is ready at ");
      expect(ofPackages(errors)).toEqual([]);
      expect(output).not.toMatch(/"level":"(?:warn|error|fatal)"/);
    } finally {
      // npx and the node.
      process.kill(-(node.pid ?? 0), "SIGTERM");
      await once(node, "exit");
    }
  });

  it("provide the cairn command, which starts a node that responds and stops", async () => {
    const cairn = place("node_modules/.bin/cairn");
    expect((await run(cairn, ["--help"])).stdout).toContain("Usage: cairn");
    const env = { ...process.env, CAIRN_HTTP_PORT: "0", CAIRN_NODE_ID: "installed" };
    const node = spawn(cairn, ["start"], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
    try {
      const exited = once(node, "exit");
      let output = "";
      node.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      await expect.poll(() => output, { timeout: 30_000 }).toContain("installed is ready");
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] ?? "";
      const put = await fetch(`${url}/api/v1/pods/default/web-0`, { method: "PUT", body: "{}" });
      expect(put.status).toBe(201);
      expect((await run(cairn, ["get", "pods", "default/web-0", "--url", url])).stdout.trim()).toBe("{}");
      node.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
    } finally {
      node.kill("SIGKILL");
    }
  });

  it("save checkpoints and serve the page in a bundled program if they are left out of the bundle", async () => {
    const { stdout } = await run(process.execPath, [await bundle(/^[^./]/)], { cwd: folder });
    expect(stdout).toBe("true text/html; charset=utf-8\n");
  });

  it.each([
    ["the packages", "a thread's file", /^(?!@cairn\/)[^./]/, /\w+-worker\.js/],
    [
      "the packages without threads",
      "the page",
      /^(?!@cairn\/(?!kv|checkpoint|engine))[^./]/,
      /page\/index\.html/,
    ],
  ])("refuse to start a node in a bundle that contains %s, but not %s", async (_1, _2, external, file) => {
    // Some packages of others cannot be bundled at all.
    const starting = run(process.execPath, [await bundle(external)], { cwd: folder });
    const missing = `CairnError: A file of Cairn is missing: ${folder}/${file.source}\\.\n`;
    const details = "code: 'CONFIG_MODULE',\\s+hint: '.*esbuild --packages=external";
    await expect(starting).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`${missing}[^]*${details}`)) as string,
    });
  });

  it("have types that compile without skipLibCheck from TypeScript 5.7 to 7, as the examples do", async () => {
    const versions = ["5.7", "5.8", "5.9", "6.0", "7.0"];
    const compilers = path.join(folder, "compilers");
    await mkdir(compilers);
    const packages = versions.map((version) => `typescript-${version}@npm:typescript@${version}`);
    await run("npm", ["install", "--ignore-scripts", "--prefix", compilers, ...packages]);
    // A project that uses the suites also has these packages.
    await mkdir(place("node_modules/@types"), { recursive: true });
    for (const name of ["vitest", "fast-check", "@types/node"])
      await symlink(path.join(ROOT, "node_modules", name), place(`node_modules/${name}`));
    await writeFile(place("typed.ts"), TYPED);
    await writeFile(place("wrong.ts"), TYPED.replace("txIdOf = (manifest: Manifest): number", "$&[]"));
    const examples = ["feature-flags", "views"].map((name) => path.join(ROOT, "examples", name, "src"));
    for (const source of examples) await cp(source, folder, { recursive: true });
    const files = (await readdir(folder)).filter((name) => name.endsWith(".ts"));
    const options = "--noEmit --strict --exactOptionalPropertyTypes --skipLibCheck false";
    const modules = "--target es2023 --module nodenext --allowImportingTsExtensions --types node";
    for (const version of versions) {
      const tsc = path.join(compilers, "node_modules", `typescript-${version}`, "bin/tsc");
      const args = [tsc, ...options.split(" "), ...modules.split(" "), ...files];
      const { stdout } = await run(process.execPath, args, { cwd: folder }).catch(
        (failure: { readonly stdout: string }) => failure,
      );
      // The compiler reports the deliberate mistake, which shows that it has the types, and nothing else.
      const errors = stdout.match(/^.*error TS\d+/gm);
      expect({ version, errors }).toEqual({
        version,
        errors: [expect.stringMatching(/^wrong\.ts.*TS2322$/)],
      });
    }
  });
});

describe("@cairn/node, when a package manager installs it from a registry", PACKAGING, () => {
  let registry: Registry;
  let project = "";

  beforeEach(async () => {
    registry = await serveRegistry(readPackages(place("tarballs")));
    project = await mkdtemp(path.join(tmpdir(), "cairn-project-"));
    for (const [name, text] of Object.entries(projectOfRegistry(registry.url)))
      await writeFile(path.join(project, name), text);
  });
  afterEach(async () => {
    registry.close();
    await rm(project, { recursive: true, force: true });
  });

  /** Runs a command of a package manager in the project. */
  async function manage(manager: string, args: readonly string[]): Promise<void> {
    const [command = "", ...before] = MANAGERS[manager]?.program ?? [];
    await run(command, [...before, ...args], { cwd: project });
  }

  it("brings at most 45 packages of others, and takes at most 40 MB in all", async () => {
    await manage("npm", ["install", "@cairn/node"]);
    const modules = path.join(project, "node_modules");
    const lock = JSON.parse(await readFile(path.join(modules, ".package-lock.json"), "utf8")) as {
      packages: Record<string, unknown>;
    };
    const others = Object.keys(lock.packages).filter((name) => !name.startsWith("node_modules/@cairn/"));
    expect(others.length).toBeLessThanOrEqual(45);
    const entries = await readdir(modules, { recursive: true, withFileTypes: true });
    const sizes = entries.map(async (entry) => {
      const { size } = await lstat(path.join(entry.parentPath, entry.name));
      // A file takes whole blocks of the disk.
      return entry.isFile() ? Math.ceil(size / 4_096) * 4_096 : 0;
    });
    const bytes = (await Promise.all(sizes)).reduce((total, size) => total + size, 0);
    expect(bytes).toBeLessThanOrEqual(40_000_000);
  });

  it.each(Object.entries(MANAGERS))(
    "refuses NATS and S3 with the commands of %s that install them, after which it is ready",
    { tags: "nats" },
    async (manager, { add }) => {
      await manage(manager, [...add, "@cairn/node"]);
      await writeFile(path.join(project, "program.js"), REFUSED);
      const nats = await startNatsServer();
      const s3 = await testS3();
      try {
        const store = { "cairn/module": "cairn.s3/->checkpoint-store", bucket: s3.bucket, prefix: manager };
        const config = {
          "cairn/node": { id: manager, dir: "./state" },
          "cairn/http-server": null,
          "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
          "cairn/index-store": { "kv-store": { checkpointer: { "approx-frequency": "PT6H", store } } },
        };
        await writeFile(path.join(project, "config.json"), JSON.stringify(config));
        const env = {
          ...process.env,
          // Package managers set it for the programs that they start, such as that of the tests.
          NODE_PATH: "",
          AWS_ENDPOINT_URL: s3.endpoint,
          AWS_REGION: s3.region,
          AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
          AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
        };
        const start = async (): Promise<object> => {
          const { stdout } = await run(process.execPath, ["program.js"], { cwd: project, env });
          return JSON.parse(stdout) as object;
        };
        for (const name of ["@cairn/log-nats", "@cairn/checkpoint-s3"]) {
          const refusal = (await start()) as { code: string; hint: string };
          expect(refusal).toMatchObject({ code: "CONFIG_INVALID" });
          // npm install NAME@VERSION (or pnpm add, or yarn add)
          const [, words = "", added = "", others = ""] =
            /: (npm install) (\S+) \(or (.*)\)\.$/.exec(refusal.hint) ?? [];
          const verbs = [words, ...others.split(", or ")];
          const [, verb = ""] = verbs.map((one) => one.split(" ")).find(([one]) => one === manager) ?? [];
          expect(added).toMatch(new RegExp(`^${name}@\\d`));
          await manage(manager, [verb, added]);
        }
        expect(await start()).toEqual({ saved: `s3://${s3.bucket}/${manager}` });
      } finally {
        await s3.close();
        await nats.close();
      }
    },
  );
});
