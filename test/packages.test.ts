import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

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

const TYPED = `
import { startNode, type CairnNode, type StartNodeOptions, type TxLog } from "@cairn/node";
import { CairnClient, type ClientDocument } from "@cairn/client";
import { checkpointStoreSuite, type CheckpointStoreSuite } from "@cairn/checkpoint/testing";
import { filesystemStore, type CheckpointStore, type Manifest } from "@cairn/checkpoint";
import { levelProvider, type KvProvider, type KvStore } from "@cairn/kv";
import { describeTxLog, type TxLogHarness } from "@cairn/engine/testing";
import { kvStoreSuite, type KvStoreSuiteOptions } from "@cairn/kv/testing";
export const node: Promise<CairnNode> = startNode({});
export const provider: KvProvider = levelProvider();
export const document: Promise<ClientDocument<{ cpu: number }> | undefined> =
  new CairnClient({ urls: "http://127.0.0.1:3000" }).get<{ cpu: number }>("pods", "web-0");
export const opened: Promise<KvStore> = provider.open("./index");
export const store: CheckpointStore = filesystemStore({ path: "./store" });
export const txIdOf = (manifest: Manifest): number => manifest.txId;
export const nameOf = (log: TxLog, options: StartNodeOptions): string => log.name + String(options.cwd);
export function suites(harness: TxLogHarness, kv: KvStoreSuiteOptions, stores: CheckpointStoreSuite): void {
  kvStoreSuite("mine", kv);
  checkpointStoreSuite("mine", stores);
  describeTxLog("mine", async () => harness);
}
`;

/** The first tier has only what the README says of installing. */
const PACKAGING = { tags: "rest/packaging" };

const INSTALL = "npm install --ignore-scripts ./tarballs/*.tgz";

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

describe("the packages, when installed from their tarballs into an empty folder", () => {
  it.each([
    ["by default", []],
    ["with the export condition of this repository's tests, too", ["--conditions=cairn-source"]],
  ])("run in a program %s", PACKAGING, async (_, options) => {
    await writeFile(place("program.js"), PROGRAM);
    const { stdout } = await run(process.execPath, [...options, "program.js"], { cwd: folder });
    expect(stdout).toBe('{"state":"running"} {"state":"running"} true\n');
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

  it("provide the cairn command, which starts a node that responds and stops", PACKAGING, async () => {
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

  it(
    "save checkpoints and serve the page in a bundled program if they are left out of the bundle",
    PACKAGING,
    async () => {
      const { stdout } = await run(process.execPath, [await bundle(/^[^./]/)], { cwd: folder });
      expect(stdout).toBe("true text/html; charset=utf-8\n");
    },
  );

  it.each([
    ["the packages", "a thread's file", /^(?!@cairn\/)[^./]/, /\w+-worker\.js/],
    ["the packages without threads", "the page", /^(?!@cairn\/(?!kv|checkpoint))[^./]/, /page\/index\.html/],
  ])(
    "refuse to start a node in a bundle that contains %s, but not %s",
    PACKAGING,
    async (_1, _2, external, file) => {
      // Some packages of others cannot be bundled at all.
      const starting = run(process.execPath, [await bundle(external)], { cwd: folder });
      const missing = `CairnError: A file of Cairn is missing: ${folder}/${file.source}\\.\n`;
      const details = "code: 'CONFIG_MODULE',\\s+hint: '.*esbuild --packages=external";
      await expect(starting).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`${missing}[^]*${details}`)) as string,
      });
    },
  );

  it("have types that compile without skipLibCheck, including those of the suites", PACKAGING, async () => {
    // A project that uses the suites also has these packages.
    await mkdir(place("node_modules/@types"), { recursive: true });
    for (const name of ["vitest", "fast-check", "@types/node"])
      await symlink(path.join(ROOT, "node_modules", name), place(`node_modules/${name}`));
    await writeFile(place("typed.ts"), TYPED);
    await writeFile(place("wrong.ts"), TYPED.replace("txIdOf = (manifest: Manifest): number", "$&[]"));
    const options = "--noEmit --ignoreConfig --strict --exactOptionalPropertyTypes --skipLibCheck false";
    const modules = "--target es2023 --module nodenext --moduleResolution nodenext --types node";
    const args = [...options.split(" "), ...modules.split(" "), "typed.ts", "wrong.ts"];
    const tsc = path.join(ROOT, "node_modules/typescript/bin/tsc");
    const { stdout } = await run(process.execPath, [tsc, ...args], { cwd: folder }).catch(
      (failure: { readonly stdout: string }) => failure,
    );
    // The compiler reports the deliberate mistake, which shows that it has the types, and nothing else.
    expect(stdout.match(/^.*error TS\d+/gm)).toEqual([expect.stringMatching(/^wrong\.ts.*TS2322$/)]);
  });
});
