// Runs Kubernetes' own tests of its storage on a node: node test/dist/outside/kubernetes/main.js
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeProcess, ROOT } from "@cairn/test-support/cairn-process";
import { CANNOT_HOLD } from "./cannot-hold.ts";
import { runGoTests, type TestResult } from "./go-tests.ts";

const JUDGE = join(ROOT, "test/outside/kubernetes/judge");
const TESTS = "k8s.io/apiserver/pkg/storage/testing";

const folder = await mkdtemp(join(tmpdir(), "cairn-kubernetes-"));
const problems: string[] = [];
const theirs = await theirTests();
const node = NodeProcess.start({ id: "judged", dir: folder, args: ["--json"] });
try {
  await checkReasons();
  await node.ready();
  const results = await runGoTests(JUDGE, { CAIRN_URL: await node.url() });
  const wrong = unexpected(results);
  problems.push(
    ...wrong.map((path) => `${path}: ${results.get(path)?.outcome}\n${results.get(path)?.output}`),
  );
  problems.push(...missing(results).map((path) => `${path} was not run.`));
  const cannot = Object.keys(CANNOT_HOLD).length;
  process.stdout.write(
    `${tableOf([...results.keys()], wrong).join("\n")}\nkubernetes: ${theirs.length} functions, ${results.size} tests with their parts, of which ${cannot} cannot hold by design: ${problems.length} problems\n`,
  );
} finally {
  await node.stop();
  if (problems.length === 0) await rm(folder, { recursive: true, force: true });
  else process.stdout.write(`${problems.join("\n")}\nThe node's files are in ${folder}\n`);
}
process.exitCode = problems.length === 0 ? 0 : 1;

/** Returns the names of the functions that Kubernetes' package of tests exports. Fetches the package. */
async function theirTests(): Promise<string[]> {
  const found = spawnSync("go", ["list", "-f", "{{.Dir}}", TESTS], { cwd: JUDGE, encoding: "utf8" });
  if (found.error !== undefined) throw new Error(`This needs Go: ${found.error.message}`);
  if (found.status !== 0) throw new Error(`Kubernetes' tests could not be fetched: ${found.stderr}`);
  const files = ["store_tests.go", "watcher_tests.go"].map((name) => join(found.stdout.trim(), name));
  const texts = await Promise.all(files.map(async (file) => await readFile(file, "utf8")));
  return texts.flatMap((text) => [...text.matchAll(/^func (Run\w+)\(/gm)].map(([, name = ""]) => name));
}

/** A reason counts only as long as the page contains its sentence. */
async function checkReasons(): Promise<void> {
  for (const [path, { page, sentence }] of Object.entries(CANNOT_HOLD)) {
    if (!(await readFile(join(ROOT, "docs", page), "utf8")).includes(sentence))
      problems.push(`${path}: docs/${page} does not say "${sentence}"`);
  }
}

/** Returns the tests that ended differently than expected. One that was skipped counts as well. */
function unexpected(results: ReadonlyMap<string, TestResult>): string[] {
  return [...results].flatMap(([path, { outcome }]) =>
    outcome === (CANNOT_HOLD[path] === undefined ? "pass" : "fail") ? [] : [path],
  );
}

/** Returns their functions, and the tests of the list, that were not run. */
function missing(results: ReadonlyMap<string, TestResult>): string[] {
  const judged = new Set([...results.keys()].flatMap((path) => [path, path.split("/")[1]]));
  return [...theirs, ...Object.keys(CANNOT_HOLD)].filter((path) => !judged.has(path));
}

/** Returns a line for each function, and one for each of its parts that cannot hold. */
function tableOf(paths: readonly string[], wrong: readonly string[]): string[] {
  return paths.toSorted().flatMap((path) => {
    const because = CANNOT_HOLD[path];
    if (because !== undefined) return [`${path}: cannot hold. ${because.sentence} (docs/${because.page})`];
    if (path.split("/").length !== 2) return [];
    const isWrong = wrong.some((one) => one === path || one.startsWith(`${path}/`));
    return [`${path}: ${isWrong ? "NOT AS EXPECTED" : "holds"}`];
  });
}
