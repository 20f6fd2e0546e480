// Generates clients in other languages as docs/client.md describes, and uses them: node
// test/dist/outside/clients/main.js
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeProcess, ROOT } from "@cairn/test-support/cairn-process";
import { pythonEnvironment } from "../python-environment.ts";
import { fetchGenerators, run, VERSIONS } from "./tools.ts";

const SOURCES = join(ROOT, "test/outside/clients");
/** Node has it as node:sqlite from version 22 on. */
const SQLITE = createRequire(join(ROOT, "packages/engine/package.json")).resolve("@photostructure/sqlite");
const PAGE = join(ROOT, "docs/client.md");

const folder = await mkdtemp(join(tmpdir(), "cairn-clients-"));

function say(line: string): void {
  process.stdout.write(`clients: ${line}\n`);
}

/** Runs `use` with a new node. */
async function withNode(name: string, use: (url: string) => Promise<void>): Promise<void> {
  const dir = join(folder, `node-${name}`);
  const tables = { jobs: { bucket: "jobs", columns: { state: "state" } } };
  const jobs = { "cairn/module": "cairn.sqlite/->index", version: 1, ready: "waits", tables, driver: SQLITE };
  const config = { "cairn/http-server": { port: 0 }, "cairn/indexes": { jobs } };
  const args = ["--json", "-j", JSON.stringify(config)];
  await mkdir(dir);
  const node = NodeProcess.start({ id: name, dir, args });
  try {
    await node.ready();
    await use(await node.url());
  } finally {
    await node.stop();
  }
}

/** Runs the page's commands against a node. */
async function generate(url: string): Promise<void> {
  const page = await readFile(PAGE, "utf8");
  const from = page.indexOf("```sh\n", page.indexOf("## Other languages")) + 6;
  const lines = page.slice(from, page.indexOf("```", from)).trim().split("\n");
  for (const line of lines) await run(line.replace("http://localhost:3000", url).split(" "), folder);
  say(`${lines.length} clients generated`);
}

/** Returns the operations of /openapi.json that no request used, according to the node's metrics. */
async function unusedOperations(url: string): Promise<string[]> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: Record<string, object> };
  return Object.entries(document.paths).flatMap(([path, methods]) => {
    const isDocument = path.startsWith("/api/v1/{bucket}/");
    const route = isDocument ? "/api/v1/*" : path.replaceAll(/\{(\w+)\}/g, ":$1");
    return Object.keys(methods)
      .map((method) => `method="${method.toUpperCase()}",route="${route}",`)
      .filter((labels) => !metrics.includes(`cairn_http_requests_total{${labels}`));
  });
}

async function scenario(language: string, command: readonly string[], cwd: string): Promise<void> {
  await withNode(language, async (url) => {
    await run([...command, url], cwd);
    const missing = await unusedOperations(url);
    if (missing.length > 0) throw new Error(`${language} did not use ${missing.join("; ")}`);
  });
  say(`${language}: all operations used, all answers as expected`);
}

async function goScenario(): Promise<void> {
  const own = join(folder, "go-scenario");
  await mkdir(own);
  await writeFile(
    join(own, "go.mod"),
    "module scenario\ngo 1.23\nrequire github.com/you/cairn v0.0.0\nreplace github.com/you/cairn => ../cairn-go\n",
  );
  await copyFile(join(SOURCES, "scenario.go"), join(own, "main.go"));
  await run(["go", "vet", "."], own);
  await run(["go", "build", "-o", "scenario", "."], own);
  await scenario("go", [join(own, "scenario")], own);
}

async function goCompiles(): Promise<void> {
  const own = join(folder, "oapi-codegen");
  await mkdir(own);
  await copyFile(join(folder, "cairn.go"), join(own, "cairn.go"));
  await run(["go", "mod", "init", "example.org/cairn"], own);
  await run(["go", "mod", "tidy"], own);
  await run(["go", "vet", "."], own);
}

const IMPORT_ALL =
  "import importlib, pkgutil, cairn_client as c\nfor m in pkgutil.walk_packages(c.__path__, 'cairn_client.'): importlib.import_module(m.name)";

async function pythonScenario(bin: string): Promise<void> {
  const pip = [join(bin, "pip"), "install", "-q", "--force-reinstall"];
  await run([...pip, "./cairn-python", "./cairn-python-small"], folder);
  await run([join(bin, "python"), "-c", IMPORT_ALL], folder);
  await scenario("python", [join(bin, "python"), join(SOURCES, "scenario.py")], folder);
}

async function javaScenario(): Promise<void> {
  for (const name of ["cairn-java", "cairn-java-native"])
    await run(["mvn", "-q", "-B", "-DskipTests", "compile"], join(folder, name));
  const own = join(folder, "cairn-java");
  await run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=target/lib"], own);
  const path = "target/classes:target/lib/*";
  await scenario("java", ["java", "-cp", path, join(SOURCES, "Scenario.java")], own);
}

try {
  await fetchGenerators();
  const bin = await pythonEnvironment("clients", [
    `openapi-python-client==${VERSIONS["openapi-python-client"]}`,
  ]);
  process.env["PATH"] = `${process.env["PATH"] ?? ""}:${bin}`;
  await withNode("described", generate);
  await goCompiles();
  await goScenario();
  await pythonScenario(bin);
  await javaScenario();
  say("6 clients of 3 generators, all compile");
} finally {
  await rm(folder, { recursive: true, force: true });
}
