// Tests the key-value stores with the tests of abstract-level: node
// packages/kv/dist/test/outside/abstract-level/main.js
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { FAULTY_STORES, STORES } from "./stores.ts";

const SUITE = fileURLToPath(new URL("./suite.js", import.meta.url));
/** Fewer assertions mean that a part of the suite did not run: abstract-level 3.1.1 has 4,406 for these stores. */
const LEAST_ASSERTIONS = 4_000;

/** What the suite found in one store. */
interface Findings {
  readonly passed: number;
  /** Each failed assertion with its test, each skipped one, and whatever kept the suite from its end. */
  readonly problems: readonly string[];
}

const { version } = createRequire(import.meta.url)("abstract-level/package.json") as { version: string };
const problems: string[] = [];
const told: string[] = [];
for (const name of Object.keys(STORES)) {
  const found = await judge(name);
  told.push(`${name} ${found.passed} passed, ${found.problems.length} failed`);
  problems.push(...found.problems.map((problem) => `${name}: ${problem}`));
}
for (const fault of Object.keys(FAULTY_STORES)) {
  const found = await judge(fault);
  told.push(`if ${fault}, ${found.problems.length} failed`);
  if (found.problems.length === 0) problems.push(`The suite does not notice if ${fault}.`);
}
process.stdout.write(`abstract-level: ${version}: ${told.join("; ")}\n`);
for (const problem of problems) process.stdout.write(`  ${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;

async function judge(name: string): Promise<Findings> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-abstract-level-"));
  try {
    const child = spawn(process.execPath, [SUITE, name, folder], {
      // The suite leaves some stores open, and thus their files.
      env: { ...process.env, TMPDIR: folder },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(child, "exit") as Promise<[number | null]>;
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) lines.push(line);
    const [code] = await exited;
    return findingsOf(lines, code);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads TAP as tape writes it: the name of each test, its assertions, and at the end the number of all of them. */
function findingsOf(lines: readonly string[], code: number | null): Findings {
  const found: string[] = [];
  let passed = 0;
  let test = "";
  let planned = 0;
  for (const line of lines) {
    const [, result, what = ""] = /^(ok|not ok) \d+ ?(.*)$/.exec(line) ?? [];
    if (result === "ok" && !/# (?:SKIP|TODO)/.test(what)) passed += 1;
    else if (result !== undefined) found.push(`${test}: ${what}`);
    else if (line.startsWith("# ")) test = line.slice(2);
    else if (line.startsWith("1..")) planned = Number(line.slice(3));
  }
  const made = passed + found.length;
  if (planned !== made || made < LEAST_ASSERTIONS)
    found.push(`the suite planned ${planned} assertions, and made ${made}`);
  if (code !== 0 && found.length === 0) found.push(`the suite exited with ${String(code)}`);
  return { passed, problems: found };
}
